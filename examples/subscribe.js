// Prints each result of a running daemon: npm install, then node subscribe.js
import { Subscriber } from "zeromq"

const socket = new Subscriber()
socket.connect(process.argv[2] ?? "tcp://127.0.0.1:5600")
socket.subscribe("result/")
for await (const [topic, body] of socket) {
  const result = JSON.parse(body.toString())
  console.log(result.camera, result.labels[0].label, result.budget.limited_by)
}
