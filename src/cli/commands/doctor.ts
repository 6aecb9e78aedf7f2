/** `lapidary doctor`: what this machine offers, which engine will run, and what to do about what is missing. */
import { cpus, totalmem } from "node:os";
import type { Command } from "commander";
import { addCommonOptions, type CommonOptions } from "../options.ts";
import { createOutput } from "../output.ts";
import { formatBytes } from "../progress.ts";

interface Finding {
  readonly name: string;
  readonly state: "good" | "note" | "bad";
  readonly text: string;
  readonly advice?: string;
}

const CUDA_ADVICE =
  "to use CUDA: ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node (docs/MODELS.md)";

export function addDoctorCommand(program: Command): void {
  addCommonOptions(program.command("doctor"))
    .description("check Node, processor, engine, ONNX Runtime, memory and disk")
    .addHelpText(
      "after",
      "\nExits 1 if something that Lapidary needs is missing.\n\nExample:\n  $ lapidary doctor",
    )
    .action(doctor);
}

async function doctor(options: CommonOptions): Promise<void> {
  const output = createOutput(options);
  const findings = [node(), await processor(), await engine(), await runtime(), await memory(), await disk()];
  const marks = { good: "✓", note: "·", bad: "✗" };
  const lines = findings.flatMap(({ name, state, text, advice }) => [
    `${marks[state]} ${name.padEnd(14)} ${text}`,
    ...(advice === undefined ? [] : [`  ${"".padEnd(14)} → ${advice}`]),
  ]);
  output.result(lines.join("\n"), findings);
  if (findings.some(({ state }) => state === "bad")) process.exitCode = 1;
}

function node(): Finding {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const text = `${process.versions.node} on ${process.platform} ${process.arch}`;
  const isOld = major < 20 || (major === 20 && minor < 19);
  return isOld
    ? { name: "Node", state: "bad", text, advice: "install Node 20.19 or later" }
    : { name: "Node", state: "good", text };
}

async function processor(): Promise<Finding> {
  const list = cpus();
  const cores = `${list.length} core${list.length === 1 ? "" : "s"}`;
  const text = `${list[0]?.model.trim() ?? "unknown"}, ${cores}, ${await instructionSets()}`;
  return { name: "Processor", state: "good", text };
}

/** As the addon finds them; what its kernels can use. */
async function instructionSets(): Promise<string> {
  try {
    const addon = await import("../../kernels/addon.ts");
    const found = addon.instructionSets().filter(({ isa, present }) => present && isa !== "scalar");
    return (
      found.map(({ name }) => name).join(", ") || "none of the vector instructions that there are kernels for"
    );
  } catch {
    return "instruction sets not known without the native engine";
  }
}

async function engine(): Promise<Finding> {
  const { selectEngine } = await import("../../kernels/select.ts");
  const selected = await selectEngine("auto");
  if (selected.name === "native") return { name: "Engine", state: "good", text: selected.description };
  return {
    name: "Engine",
    state: "note",
    text: selected.description,
    advice: selected.reason,
  };
}

async function runtime(): Promise<Finding> {
  try {
    const { runtimeDevices } = await import("../../models/runtime.ts");
    const { version, devices } = await runtimeDevices();
    const names = devices.map(({ name, bundled }) => (bundled ? name : `${name} (needs its libraries)`));
    const text = `${version}: ${names.join(", ")}`;
    const needsCuda = devices.some(({ name, bundled }) => name === "cuda" && !bundled);
    const advice = needsCuda ? CUDA_ADVICE : undefined;
    return { name: "ONNX Runtime", state: "good", text, advice };
  } catch (error) {
    return {
      name: "ONNX Runtime",
      state: "bad",
      text: (error as Error).message,
      advice: "npm run setup installs it",
    };
  }
}

async function memory(): Promise<Finding> {
  const { availableMemory } = await import("../../pipeline/resources.ts");
  const free = await availableMemory();
  const text = `${formatBytes(free)} free of ${formatBytes(totalmem())}`;
  return free < 1.5e9
    ? { name: "Memory", state: "note", text, advice: "the quickstart wants 1.5 GB: stop other programs" }
    : { name: "Memory", state: "good", text };
}

async function disk(): Promise<Finding> {
  const { freeDisk } = await import("../../pipeline/resources.ts");
  const free = await freeDisk(".");
  const text = `${formatBytes(free)} free in this folder`;
  return free < 3e9
    ? {
        name: "Disk",
        state: "note",
        text,
        advice: "the quickstart writes about 1 GB; --runs chooses another disk",
      }
    : { name: "Disk", state: "good", text };
}
