"""The real SAELens as a program: loads folders and repositories, encodes, decodes. Started by python.ts.

One JSON request a line on standard input, one JSON answer a line on standard output:
  {"load": folder, "inputs": file, "outputs": file}          SAE.load_from_disk
  {"release": name, "saeId": id, "inputs": …, "outputs": …}  SAE.from_pretrained, from the hub that HF_ENDPOINT names
  {"run": program, "folder": folder, "inputs": …}            a program text in that folder, `residual` set; answers `latents`
`inputs` holds a tensor "x" [n, d_in], or [n, heads, d_head] for hook_z. `outputs` gets "features" [n, d_sae], "decoded" and
"forward" [n, d_out], and, where the hub has one, "sparsity". Everything is computed in float32, as Lapidary does.
"""

import json
import os
import sys

# The answers have the real standard output to themselves: libraries may print as they load.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import sae_lens  # noqa: E402
from sae_lens import SAE  # noqa: E402
from sae_lens.registry import SAE_CLASS_REGISTRY  # noqa: E402


def computed(sae, request):
    x = load_file(request["inputs"])["x"]
    with torch.no_grad():
        features = sae.encode(x)
        decoded = sae.decode(features)
        forward = sae(x)
    outputs = {"features": features, "decoded": decoded, "forward": forward}
    return {name: value.reshape(len(x), -1).float().contiguous() for name, value in outputs.items()}


def answer(request):
    if "run" in request:
        os.chdir(request["folder"])
        scope = {"residual": load_file(request["inputs"])["x"]}
        with torch.no_grad():
            exec(compile(request["run"], "snippet", "exec"), scope)
        return {"latents": scope["latents"].count_nonzero(dim=-1).tolist()}
    sparsity = None
    if "load" in request:
        sae = SAE.load_from_disk(request["load"], dtype="float32")
    else:
        sae, _, sparsity = SAE.from_pretrained_with_cfg_and_sparsity(request["release"], request["saeId"])
    outputs = computed(sae, request)
    if sparsity is not None:
        outputs["sparsity"] = sparsity
    save_file(outputs, request["outputs"])
    return {"architecture": sae.cfg.architecture(), "metadata": dict(sae.cfg.metadata.items())}


ready = {"version": sae_lens.__version__, "architectures": sorted(SAE_CLASS_REGISTRY)}
print(json.dumps(ready), file=answers, flush=True)
for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as error:  # told to the test, which fails
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result, default=str), file=answers, flush=True)
