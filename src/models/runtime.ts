/** The one place that loads ONNX Runtime, and the devices it can compute on. */
import type * as OnnxRuntime from "onnxruntime-node";
import { ModelError } from "../errors.ts";

export type Ort = typeof OnnxRuntime;
export type Session = OnnxRuntime.InferenceSession;
export type Tensor = OnnxRuntime.Tensor;

/** Where a model can run. "cpu" is always there; the others depend on system, drivers and ONNX Runtime's build. */
const DEVICES = ["cpu", "cuda", "webgpu", "coreml", "dml"] as const;
export type Device = (typeof DEVICES)[number];

const HINTS: Readonly<Record<Device, string>> = {
  cpu: "Report this: the CPU should always work.",
  cuda: "CUDA needs Linux x64, an NVIDIA driver, CUDA 12 and cuDNN 9, and ONNX Runtime's CUDA libraries: fetch those with ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node (see docs/MODELS.md). Or use --device cpu.",
  webgpu:
    "WebGPU needs a graphics driver (on Linux the Vulkan loader libvulkan.so.1 and a Vulkan driver). Or use --device cpu.",
  coreml: "CoreML exists on macOS only. Use --device cpu.",
  dml: "DirectML exists on Windows only. Use --device cpu.",
};

/** Loads ONNX Runtime. @throws {ModelError} it is not installed or does not load */
export async function loadRuntime(): Promise<Ort> {
  try {
    const module = (await import("onnxruntime-node")) as Ort & { default?: Ort };
    const ort = module.default ?? module;
    ort.env.logLevel = "fatal"; // its messages come back as errors
    return ort;
  } catch (error) {
    throw new ModelError("ONNX Runtime (onnxruntime-node) cannot be loaded", {
      hint: "Install it without its CUDA download: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0",
      cause: error,
    });
  }
}

/** Version and devices of the installed ONNX Runtime; `bundled` devices need no further libraries from its maker. */
export async function runtimeDevices(): Promise<{
  version: string;
  devices: { name: string; bundled: boolean }[];
}> {
  const ort = await loadRuntime();
  return {
    version: `onnxruntime-node ${ort.env.versions.node ?? "?"}`,
    devices: ort.listSupportedBackends().map(({ name, bundled }) => ({ name, bundled })),
  };
}

/** @throws {ModelError} the device is no device of ours, or not in this build of ONNX Runtime; never falls back */
export async function checkDevice(device: string): Promise<Device> {
  const known = DEVICES.find((name) => name === device);
  if (known === undefined)
    throw new ModelError(`no device "${device}"`, { hint: `Choose one of ${DEVICES.join(", ")}.` });
  const { devices } = await runtimeDevices();
  if (!devices.some(({ name }) => name === known))
    throw new ModelError(
      `the device "${known}" is not in this ONNX Runtime (it has ${devices.map(({ name }) => name).join(", ")})`,
      { hint: HINTS[known] },
    );
  return known;
}

/** What to try when a session cannot be created on `device`. */
export function deviceHint(device: Device): string {
  return HINTS[device];
}
