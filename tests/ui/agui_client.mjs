// Calls a team by the unchanged client of AG-UI: node agui_client.mjs CLIENT ADDRESS TEAM ANSWER
import { pathToFileURL } from "node:url";

const [client, address, team, answer] = process.argv.slice(2);
const { HttpAgent } = await import(pathToFileURL(client).href);
const agent = new HttpAgent({ url: `${address}/agui/${team}`, headers: { origin: address }, threadId: "from-node" });
agent.addMessage({ id: "m1", role: "user", content: "Plan a party" });

let deltas = 0, outcome = null;
const subagents = [], calls = [], failures = [];
const hear = {
  onEvent: ({ event }) => {
    if (event.type === "TEXT_MESSAGE_CONTENT") deltas += 1;
    if (event.type === "SUBAGENT_STARTED") subagents.push(event.name);
    if (event.type === "TOOL_CALL_START") calls.push(event.toolCallName);
  },
  onRunFinishedEvent: ({ event }) => { outcome = event.outcome; },
  onRunFailed: ({ error }) => { failures.push(String(error)); },
};
await agent.runAgent({ runId: "r1" }, hear);
const asked = outcome;
await agent.runAgent({
  runId: "r2",
  resume: asked.interrupts.map(({ id }) => ({ interruptId: id, status: "resolved", payload: JSON.parse(answer) })),
}, hear);
console.log(JSON.stringify({ asked, outcome, deltas, subagents, calls, failures, answer: agent.messages.at(-1).content }));
