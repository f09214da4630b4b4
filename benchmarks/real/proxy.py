"""A logging proxy before llama.cpp's server, which also enforces tools where a scenario needs it.

The small model's chat template knows no tools, and the server drops them without a word. Under
`/plain/v1` it is used as it is. Under `/tools/v1` a request with tools becomes one with a JSON
schema, which the server enforces as a grammar, and its answer a call of the tool: so the model
babbles, but always in the form that providers with tools guarantee.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

LONGEST_TEXT = 24
"""How many characters a text in a tool's arguments may have: a model that babbles uses them all."""
SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request as the client sent it, and the answer that it got."""

    body: Mapping[str, Any]
    answer: Mapping[str, Any]
    status: int

    @property
    def usage(self) -> tuple[int, int]:
        """The tokens that the server counted: read and written."""
        found = self.answer.get("usage") or {}
        return found.get("prompt_tokens", 0), found.get("completion_tokens", 0)

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at the limit of tokens."""
        return bool(self.answer["choices"][0]["finish_reason"] == "length")

    @property
    def text(self) -> str:
        """What was answered, without calls of tools."""
        return str(self.answer["choices"][0]["message"].get("content") or "")


@contextmanager
def proxy(upstream: int) -> Iterator[tuple[str, list[Exchange]]]:
    """Run the proxy; yields its address, and the exchanges, which grow."""
    log: list[Exchange] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            enforced = bool(self.path.startswith("/tools/") and sent.get("tools"))
            status, answer = ask(upstream, with_grammar(sent) if enforced else sent)
            if status == 200 and enforced:
                answer = with_calls(answer)
            log.append(Exchange(body=sent, answer=answer, status=status))
            if sent.get("stream") and status == 200:
                self.send("text/event-stream", "".join(chunks(sent, answer)), status)
            else:
                self.send("application/json", json.dumps(answer), status)

        def send(self, kind: str, text: str, status: int) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", log
    finally:
        server.shutdown()
        server.server_close()


def ask(port: int, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Ask the server, always for a whole answer."""
    body = {k: v for k, v in body.items() if k not in ("stream", "stream_options")}
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def with_grammar(body: Mapping[str, Any]) -> dict[str, Any]:
    """Turn tools into a JSON schema that the server enforces."""
    choice = body.get("tool_choice")
    forced = choice["function"]["name"] if isinstance(choice, dict) else None
    offered = [tool["function"] for tool in body["tools"]]
    calls = [called(tool) for tool in offered if forced in (None, tool["name"])]
    if forced is None and choice != "required":
        calls.append(closed({"text": {"type": "string", "maxLength": 4 * LONGEST_TEXT}}))
    messages = [plain(message) for message in body["messages"]]
    listed = "\n".join(json.dumps(tool) for tool in offered)
    messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\nTools:\n{listed}"}
    rest = {k: v for k, v in body.items() if k not in ("tools", "tool_choice")}
    form = {"name": "call", "schema": {"anyOf": calls} if len(calls) > 1 else calls[0]}
    return {
        **rest,
        "messages": messages,
        "response_format": {"type": "json_schema", "json_schema": form},
    }


def called(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Write the schema of a call of a tool."""
    arguments = bounded(tool["parameters"])
    return closed({"name": {"const": tool["name"]}, "arguments": arguments})


def closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Write the schema of an object that has all of these properties and no others."""
    names = list(properties)
    own = {"type": "object", "properties": dict(properties), "required": names}
    return {**own, "additionalProperties": False}


def bounded(schema: Any) -> Any:
    """Limit texts and lists, so that a call ends."""
    if isinstance(schema, list):
        return [bounded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: bounded(part) for key, part in schema.items()}
    if found.get("type") == "string" and "enum" not in found:
        found["maxLength"] = LONGEST_TEXT
    if found.get("type") == "array":
        found["maxItems"] = 1
    return found


def plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Write a message for a chat template that knows no tools."""
    content = message.get("content") or ""
    for call in message.get("tool_calls") or ():
        function = call["function"]
        content += json.dumps({"name": function["name"], "arguments": function["arguments"]})
    return {"role": {"tool": "user"}.get(message["role"], message["role"]), "content": content}


def with_calls(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the JSON text of an answer into a call of a tool, unless it was cut off."""
    (choice,) = answer["choices"]
    try:
        said = json.loads(choice["message"]["content"])
    except ValueError:
        return dict(answer)
    if "text" in said:
        message = {"role": "assistant", "content": said["text"]}
        return {**answer, "choices": [{**choice, "message": message}]}
    function = {"name": said["name"], "arguments": json.dumps(said["arguments"])}
    call = {"id": f"call_{answer['id'][-8:]}", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {**answer, "choices": [{**choice, "finish_reason": "tool_calls", "message": message}]}


def chunks(sent: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Stream an answer word by word; usage comes at the end where it is asked for."""
    (choice,) = answer["choices"]
    message = choice["message"]
    parts: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    parts += [{"content": f"{word} "} for word in (message.get("content") or "").split(" ")]
    calls = message.get("tool_calls") or ()
    parts += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(calls)]
    own = {"id": answer["id"], "object": "chat.completion.chunk", "created": 1, "model": "smollm2"}
    for part in [*parts, {}]:
        reason = None if part else choice["finish_reason"]
        shown = {"index": 0, "delta": part, "finish_reason": reason}
        yield f"data: {json.dumps({**own, 'choices': [shown]})}\n\n"
    if (sent.get("stream_options") or {}).get("include_usage"):
        yield f"data: {json.dumps({**own, 'choices': [], 'usage': answer['usage']})}\n\n"
    yield "data: [DONE]\n\n"
