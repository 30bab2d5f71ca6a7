// HTTP server of Node: files of a directory by GET, an echo by POST to /echo,
// else the checksum of what was posted.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { join, normalize } from "node:path";
import { checksum } from "./reading.mjs";

const [port, root] = process.argv.slice(2);

createServer(async (request, response) => {
  if (request.method === "POST") {
    if (request.url === "/echo") {
      response.writeHead(200);
      request.pipe(response);
    } else {
      response.end(await checksum(request, request.url === "/slow"));
    }
    return;
  }
  const path = join(root, normalize(request.url));
  const { size } = await stat(path).catch(() => ({}));
  if (size === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Length": size });
  if (request.method === "HEAD") {
    response.end();
  } else {
    createReadStream(path).pipe(response);
  }
}).listen(Number(port), "::");
