"""An MCP server on the official Python SDK (`mcp` 2 on PyPI), for the tests of toolrunner-mcp.

    server.py stdio         over standard input and output
    server.py http PORTFILE over streamable HTTP on a free port, which it writes to PORTFILE
"""
import asyncio
import base64
import logging
import os
import socket
import sys
from pathlib import Path

import mcp_types as types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server

logging.disable(logging.CRITICAL)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
cancelled = []
grown = False


def text(value):
    return types.TextContent(type="text", text=value)


def embedded(**contents):
    kind = types.BlobResourceContents if "blob" in contents else types.TextResourceContents
    return types.EmbeddedResource(type="resource", resource=kind(uri="file:///r", **contents))


def encoded(value):
    return base64.b64encode(value).decode()


def schema(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


TOOLS = {
    "add": schema(a={"type": "integer"}, b={"type": "integer"}),
    "image": schema(),
    "resources": schema(),
    "odd": schema(),
    "fail": schema(),
    "structured": schema(),
    "both": schema(),
    "empty": schema(),
    "refuse": schema(),
    "slow": schema(),
    "cancelled": schema(),
    "environment": schema(),
    "grow": schema(),
    "die": schema(),
    "dotted.name": schema(),
    # The API refuses a combinator at the root. The first schema has an equivalent without one.
    "folded": {"type": "object", "allOf": [schema(a={"type": "string"})]},
    "refused": {"type": "object", "anyOf": [schema(a={"type": "string"}), schema(b={"type": "string"})]},
}


async def list_tools(context, params):
    named = {**TOOLS, **({"new": schema()} if grown else {})}
    # Two pages.
    names = list(named)
    page = names[:10] if params is None or params.cursor is None else names[10:]
    tools = [types.Tool(name=name, description=f"The tool {name}.", input_schema=named[name]) for name in page]
    return types.ListToolsResult(tools=tools, next_cursor="2" if page == names[:10] else None)


async def call_tool(context, params):
    global grown
    name, arguments = params.name, params.arguments or {}
    result = types.CallToolResult
    if name == "add":
        return result(content=[text(str(arguments["a"] + arguments["b"]))])
    if name == "image":
        return result(content=[text("a pixel"), types.ImageContent(type="image", data=PIXEL, mime_type="image/png")])
    if name == "resources":
        return result(content=[
            embedded(text="plain", mime_type="text/plain"),
            embedded(text="untyped"),
            embedded(blob=encoded(b"%PDF-1.4"), mime_type="application/pdf"),
            embedded(blob=PIXEL, mime_type="image/png"),
            embedded(blob=encoded(b"bytes"), mime_type="text/markdown"),
        ])
    if name == "odd":
        return result(content=[
            types.AudioContent(type="audio", data=encoded(b"RIFF00"), mime_type="audio/wav"),
            types.ResourceLink(type="resource_link", name="notes", uri="file:///notes.md", description="My notes"),
            embedded(blob=encoded(b"\x00\x01\x02"), mime_type="application/zip"),
            types.ImageContent(type="image", data=encoded(b"<svg/>"), mime_type="image/svg+xml"),
        ])
    if name == "fail":
        return result(content=[text("disk full"), types.ImageContent(type="image", data=PIXEL, mime_type="image/png")], is_error=True)
    if name == "structured":
        return result(content=[], structured_content={"celsius": 21.5})
    if name == "both":
        return result(content=[text("21.5 degrees")], structured_content={"celsius": 21.5})
    if name == "empty":
        return result(content=[])
    if name == "refuse":
        raise ValueError("internal detail")
    if name == "slow":
        try:
            await asyncio.sleep(60)
        except BaseException:
            cancelled.append(name)
            raise
    if name == "cancelled":
        return result(content=[text(",".join(cancelled) or "none")])
    if name == "environment":
        return result(content=[text("\n".join(sorted(os.environ)))])
    if name == "grow":
        grown = True
        await context.session.send_tool_list_changed()
        return result(content=[text("grown")])
    if name == "die":
        os._exit(3)
    return result(content=[text(name)])


server = Server("test", on_list_tools=list_tools, on_call_tool=call_tool)


async def over_stdio():
    async with stdio_server() as (read, write):
        options = server.create_initialization_options(notification_options=NotificationOptions(tools_changed=True))
        await server.run(read, write, options)


def over_http(port_file):
    import uvicorn

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port = int(Path(port_file).read_text()) if Path(port_file).exists() else 0
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    application = server.streamable_http_app()

    async def guarded(scope, receive, send):
        # The token that the tests send.
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and headers.get(b"authorization") != b"Bearer right":
            await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await application(scope, receive, send)

    # Written under another name first: the tests wait for the file.
    partial = Path(port_file + ".new")
    partial.write_text(str(listener.getsockname()[1]))
    partial.rename(port_file)
    uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="on")).run([listener])


if sys.argv[1] == "stdio":
    asyncio.run(over_stdio())
else:
    over_http(sys.argv[2])
