#!/usr/bin/env node
/** The `lapidary` command: the command line with this process's arguments, and its exit code. */
import { runCommandLine } from "./program.ts";

process.exitCode = await runCommandLine(process.argv.slice(2));
// after an error a worker or a pool may still be alive; what matters is on disk
if (process.exitCode !== 0) setTimeout(() => process.exit(), 500).unref();
