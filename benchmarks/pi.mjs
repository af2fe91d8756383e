// pi's side of the figures: does what it is asked on standard input, times it, and says so on standard output.
// `node pi.mjs MODULE`; the module is imported before anything is timed.

import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { SessionManager } = await import(process.argv[2]);
const words = "the tree keeps every branch that somebody once took and the context is the path back to its root ";
let manager;
let number = 0;

function nextMessage() {
	const text = `message ${number}: ${words.repeat(10)}`.slice(0, 950);
	const timestamp = Date.now();
	return number++ % 2 === 0
		? { role: "user", content: text, timestamp }
		: { role: "assistant", content: [{ type: "text", text }], stopReason: "stop", timestamp };
}

function memory(field) {
	const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${field}:\\s+(\\d+)`, "m"));
	return Number(line[1]) * 1024;
}

function heldBefore() {
	try {
		writeFileSync("/proc/self/clear_refs", "5"); // the peak so far, of importing, is not the call's
		return memory("VmRSS");
	} catch {
		return undefined; // no figure where the system does not tell
	}
}

const requests = {
	resume(path) {
		const before = heldBefore();
		const cpuBefore = process.cpuUsage();
		const start = performance.now();
		const messages = SessionManager.open(path).buildSessionContext().messages.length;
		const seconds = (performance.now() - start) / 1e3;
		const cpu = process.cpuUsage(cpuBefore);
		const bytes = before === undefined ? 0 : Math.max(0, memory("VmHWM") - before);
		return { seconds, cpu: (cpu.user + cpu.system) / 1e6, bytes, messages };
	},
	open(path) {
		manager = SessionManager.open(path);
		return null;
	},
	append(calls) {
		const taken = [];
		for (let call = 0; call < calls; call++) {
			const message = nextMessage();
			const start = performance.now();
			manager.appendMessage(message);
			taken.push((performance.now() - start) / 1e3);
		}
		return taken;
	},
};

for await (const line of createInterface({ input: process.stdin })) {
	const [request, argument] = JSON.parse(line);
	process.stdout.write(`${JSON.stringify(requests[request](argument))}\n`);
}
