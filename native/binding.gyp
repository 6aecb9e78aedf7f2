# Builds lapidary.node. `node-gyp rebuild -C native` (or `npm run native`).
#
# One kernel body (src/kernels/body.h) is compiled once per instruction set, each in a library of its own so that its
# flags reach no other code; the choice among them is made at run time. No fast-math and no contraction anywhere:
# every path must give the same bits (docs/decisions/001-order-of-sums.md).
#
# -fno-schedule-insns for NEON: gcc's first scheduling pass hoists so many loads that accumulators leave the registers.
#
# -Wno-(maybe-)uninitialized in the kernels: gcc cannot see that a digit of the binary counter is written before it is
# read, and gcc 12 warns about its own AVX-512 header.
{
  "target_defaults": {
    "cflags": ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"],
    "cflags_cc": ["-std=c++17", "-Wall", "-Wextra", "-Wno-psabi"],
    "cflags!": ["-O2"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CFLAGS": ["-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
    },
    "msvs_settings": {
      "VCCLCompilerTool": { "AdditionalOptions": ["/std:c++17", "/O2", "/fp:precise"] }
    }
  },
  "targets": [
    {
      "target_name": "kernels_portable",
      "type": "static_library",
      "sources": ["src/kernels/portable.cc"],
      "cflags": ["-Wno-maybe-uninitialized", "-Wno-uninitialized"]
    },
    {
      "target_name": "lapidary",
      "sources": [
        "src/addon.cc",
        "src/aligned_array.cc",
        "src/audit.cc",
        "src/aux_dense.cc",
        "src/aux_loss.cc",
        "src/backward.cc",
        "src/cpu.cc",
        "src/decode.cc",
        "src/dense.cc",
        "src/dense_gradients.cc",
        "src/dense_step.cc",
        "src/engine.cc",
        "src/engine_object.cc",
        "src/entries.cc",
        "src/gradients.cc",
        "src/peak.cc",
        "src/quantise.cc",
        "src/rule.cc",
        "src/screen.cc",
        "src/select.cc",
        "src/thread_pool.cc",
        "src/train_step.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL",
                  "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "dependencies": ["kernels_portable"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "xcode_settings": { "GCC_ENABLE_CPP_EXCEPTIONS": "YES" },
      "msvs_settings": { "VCCLCompilerTool": { "ExceptionHandling": 1 } },
      "conditions": [
        ["target_arch=='x64'", {
          "dependencies": ["kernels_avx2", "kernels_avx_vnni", "kernels_avx512", "kernels_avx512_vnni"],
          "defines": ["LAPIDARY_X64"]
        }],
        ["target_arch=='arm64'", {
          "dependencies": ["kernels_neon", "kernels_neon_dotprod"],
          "defines": ["LAPIDARY_ARM64"]
        }]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["src/kernels/avx2.cc"],
          "cflags": ["-mavx2", "-mfma", "-Wno-maybe-uninitialized"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx2", "-mfma"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX2"] } }
        },
        {
          "target_name": "kernels_avx_vnni",
          "type": "static_library",
          "sources": ["src/kernels/avx_vnni.cc"],
          "cflags": ["-mavx2", "-mfma"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx2", "-mfma"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX2"] } }
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "sources": ["src/kernels/avx512.cc"],
          "cflags": ["-mavx2", "-mfma", "-mavx512f", "-Wno-uninitialized", "-Wno-maybe-uninitialized"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx2", "-mfma", "-mavx512f"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX512"] } }
        },
        {
          "target_name": "kernels_avx512_vnni",
          "type": "static_library",
          "sources": ["src/kernels/avx512_vnni.cc"],
          "cflags": ["-mavx2", "-mfma", "-mavx512f", "-mavx512vnni", "-Wno-uninitialized", "-Wno-maybe-uninitialized"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx2", "-mfma", "-mavx512f", "-mavx512vnni"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX512"] } }
        }
      ]
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "kernels_neon",
          "type": "static_library",
          "sources": ["src/kernels/neon.cc"],
          "cflags": ["-fno-schedule-insns", "-Wno-maybe-uninitialized"]
        },
        {
          "target_name": "kernels_neon_dotprod",
          "type": "static_library",
          "sources": ["src/kernels/neon_dotprod.cc"],
          "cflags": ["-march=armv8.2-a+dotprod", "-fno-schedule-insns"],
          "xcode_settings": { "OTHER_CFLAGS": ["-march=armv8.2-a+dotprod"] }
        }
      ]
    }]
  ]
}
