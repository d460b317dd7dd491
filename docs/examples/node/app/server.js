// Answers every request with a greeting.

const { createServer } = require("node:http");

const { GREETING, PORT } = process.env;

const server = createServer((request, response) => {
  const name = new URL(request.url, "http://localhost").searchParams.get("name") ?? "world";
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ greeting: `${GREETING}, ${name}` }));
});

// The load balancer lets current requests end before an instance is stopped.
process.on("SIGTERM", () => server.close(() => process.exit()));

server.listen(Number(PORT), "0.0.0.0", () => console.log(`listening on port ${PORT}`));
