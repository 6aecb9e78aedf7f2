// What the page or process around the module provides.
#pragma once

#define LAPIDARY_IMPORT(name) extern "C" __attribute__((import_module("host"), import_name(name)))

// Throws in JavaScript, which unwinds these frames without running destructors: the instance is not used again.
LAPIDARY_IMPORT("fail") [[noreturn]] void host_fail(const char* message);

// Of any clock that only goes forward.
LAPIDARY_IMPORT("milliseconds") double host_milliseconds();
