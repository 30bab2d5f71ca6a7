// get and put by Node's http on one connection: `get|put fast|slow HOST:PORT COUNT NAME...`,
// a line with the checksum of what came, or the server's of what was sent.
import { createReadStream, statSync } from "node:fs";
import { Agent, request } from "node:http";
import { checksum } from "./reading.mjs";

const [verb, speed, to, count, ...names] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, path, file) {
  return new Promise((resolve, reject) => {
    const headers = file ? { "Content-Length": statSync(file).size } : {};
    const asked = request(`http://${to}/${path}`, { agent, method, headers }, resolve);
    asked.on("error", reject);
    file ? createReadStream(file).pipe(asked) : asked.end();
  });
}

for (let round = 0; round < Number(count); round++) {
  for (const name of names) {
    if (verb === "get") {
      process.stdout.write(await checksum(await ask("GET", name), speed === "slow"));
    } else {
      const answer = await ask("POST", speed, name);
      for await (const text of answer.setEncoding("ascii")) process.stdout.write(text);
    }
  }
}
agent.destroy();
