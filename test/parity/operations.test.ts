/** The native engine against the reference engine, operation by operation. */
import { describe } from "vitest";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { agreesWithReference } from "./against-reference.ts";
import { addon } from "./cases.ts";

const { present, missing } = addon();

describe.skipIf(!present)(`native against reference${missing}`, () =>
  agreesWithReference(createNativeEngine),
);
