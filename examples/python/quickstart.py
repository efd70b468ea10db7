#!/usr/bin/env python3
"""The first example of the tool runner's documentation, in Python over toolrunner's C library by ctypes.

usage: quickstart.py LIBRARY [BASE_URL]

LIBRARY is libtoolrunner.so: see core/c/README.md. Without BASE_URL it asks https://api.anthropic.com with $ANTHROPIC_API_KEY. The library
decides what is sent and which calls run; this file carries bytes by `http.client` and runs the tools. Nothing needs to be installed.
"""
import ctypes
import http.client
import inspect
import json
import os
import random
import sys
import time
import urllib.parse
from ctypes import c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

DONE, SEND, CALL, WAIT = range(4)
CLOSED, CONNECT = 1, 2
TEXT = 3
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


class Text(ctypes.Structure):
    _fields_ = [("ptr", c_void_p), ("len", c_size_t)]

    def __str__(self):
        return ctypes.string_at(self.ptr, self.len).decode() if self.len else ""


class Config(ctypes.Structure):
    _fields_ = [("abi", c_uint32), ("max_tokens", c_uint32)] + [
        (name, c_char_p)
        for name in ("model", "system", "tools", "params", "base_url", "path", "api_key", "authorization", "betas")
    ] + [("whole_replies", c_uint32), ("reserved", c_uint32)]


class Event(ctypes.Structure):
    _fields_ = [("kind", c_uint32), ("index", c_uint32), ("data", Text)]


class Call(ctypes.Structure):
    _fields_ = [("index", c_uint32), ("tool", c_int32), ("id", Text), ("name", Text), ("toolset", Text), ("input", Text)]


def beta_tool(function):
    """Attaches a tool definition, made from its signature and docstring, to a function."""
    description, _, arguments = inspect.getdoc(function).partition("\n\nArgs:\n")
    said = dict(line.strip().split(": ", 1) for line in arguments.splitlines())
    parameters = inspect.signature(function).parameters.values()
    function.definition = {
        "name": function.__name__,
        "description": description,
        "input_schema": {
            "type": "object",
            "properties": {p.name: {"type": JSON_TYPES[p.annotation], "description": said[p.name]} for p in parameters},
            "required": [p.name for p in parameters if p.default is p.empty],
        },
    }
    return function


class ToolRunner:
    """The messages of the model, one after another; the calls run between them."""

    def __init__(self, library, tools, prompt, base_url=None, api_key=None, on_text=lambda text: None, **config):
        self.c = c = ctypes.CDLL(os.path.abspath(library))
        self.tools, self.on_text = tools, on_text
        c.toolrunner_size.restype = c_size_t
        c.toolrunner_body_len.restype = c_size_t
        c.toolrunner_last_text.restype = c_size_t
        c.toolrunner_error_text.restype = c_size_t
        # Texts that the library keeps, and its memory, must live as long as it uses them.
        self.config = Config(
            abi=c.toolrunner_abi(),
            tools=json.dumps([tool.definition for tool in tools]).encode(),
            base_url=base_url and base_url.encode(),
            api_key=api_key and api_key.encode(),
            **{name: value.encode() if isinstance(value, str) else value for name, value in config.items()},
        )
        self.memory = ctypes.create_string_buffer(1024 * 1024)
        self.machine = (c_uint64 * (c.toolrunner_size() // 8))()
        self.do("init", ctypes.byref(self.config), self.memory, c_size_t(len(self.memory)))
        self.do("user", *self.lend(prompt))

    def do(self, name, *arguments):
        code = getattr(self.c, f"toolrunner_{name}")(self.machine, *arguments)
        if code < 0:
            raise RuntimeError(self.told("error_text"))
        return code

    @staticmethod
    def lend(text):
        data = text.encode() if isinstance(text, str) else text
        return data, c_size_t(len(data))

    def told(self, name):
        write = getattr(self.c, f"toolrunner_{name}")
        out = ctypes.create_string_buffer(write(self.machine, None, c_size_t(0)) + 1)
        write(self.machine, out, c_size_t(len(out)))
        return out.value.decode()

    def __iter__(self):
        until = c_uint64()
        turns = 0
        while True:
            step = self.do("step", c_uint64(self.now()), ctypes.byref(until))
            if step == SEND:
                self.exchange()
            elif step == WAIT:
                time.sleep(max(0, until.value - self.now()) / 1000)
            elif step == CALL:
                self.run_calls()
            elif step == DONE:
                return
            else:
                raise RuntimeError(f"unexpected step {step}")
            if self.do("turns") > turns:
                turns = self.do("turns")
                yield self.told("last_text")

    def until_done(self):
        """Runs the loop until the model stops; gives its last text."""
        text = ""
        for text in self:
            pass
        return text

    @staticmethod
    def now():
        return int(time.monotonic() * 1000)

    def exchange(self):
        """One request and its reply."""
        base, path, name, value = Text(), Text(), Text(), Text()
        self.do("url", ctypes.byref(base), ctypes.byref(path))
        url = urllib.parse.urlsplit(str(base) + str(path))
        headers, i = {}, 0
        while self.do("field", c_size_t(i), ctypes.byref(name), ctypes.byref(value)):
            headers[str(name)] = str(value)
            i += 1
        length = self.c.toolrunner_body_len(self.machine)
        body = ctypes.create_string_buffer(length)
        self.do("body", c_size_t(0), body, c_size_t(length))
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection, why = kind(url.netloc, timeout=600), CONNECT
        try:
            connection.request("POST", url.path, body.raw, headers)
            reply, why = connection.getresponse(), CLOSED
            self.do("reply", c_uint32(reply.status))
            for field, content in reply.getheaders():
                self.do("reply_field", *self.lend(field), *self.lend(content))
            while piece := reply.read1(4096):
                if not self.feed(piece):
                    return self.failed(why)
            if not self.drain(lambda event: self.c.toolrunner_end_of_body(self.machine, event)):
                self.failed(why)
        except (OSError, http.client.HTTPException):
            self.failed(why)
        finally:
            connection.close()

    def feed(self, piece):
        rest, used = piece, c_size_t()

        def next_event(event):
            nonlocal rest
            code = self.c.toolrunner_feed(self.machine, *self.lend(rest), ctypes.byref(used), event)
            rest = rest[used.value:]
            return code

        return self.drain(next_event)

    def drain(self, next_event):
        """Handles events until there are none. Returns whether there was no error."""
        event = Event()
        while (code := next_event(ctypes.byref(event))) > 0:
            if event.kind == TEXT:
                self.on_text(json.loads(f'"{event.data}"'))
        return code == 0

    def failed(self, why):
        self.do("failed", c_int32(why), c_uint64(self.now()), c_uint32(random.getrandbits(31)))

    def run_calls(self):
        call = Call()
        while self.do("next_call", ctypes.byref(call)):
            index = c_uint32(call.index)
            if call.tool < 0:
                self.do("not_found", index)
                continue
            try:
                result = self.tools[call.tool](**json.loads(str(call.input)))
            except Exception as error:  # The model reads it, and corrects itself.
                self.do("answer_failed", index, *self.lend(str(error)))
            else:
                self.do("answer", index, *self.lend(result), c_int32(0))


@beta_tool
def get_weather(location: str, unit: str = "fahrenheit") -> str:
    """Get the current weather in a given location.

    Args:
        location: The city and state, e.g. San Francisco, CA
        unit: Temperature unit, either 'celsius' or 'fahrenheit'
    """
    return json.dumps({"temperature": "20°C" if unit == "celsius" else "68°F", "condition": "Sunny"})


@beta_tool
def calculate_sum(a: int, b: int) -> str:
    """Add two numbers together.

    Args:
        a: First number
        b: Second number
    """
    return str(a + b)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    runner = ToolRunner(
        sys.argv[1],
        tools=[get_weather, calculate_sum],
        prompt="What's the weather like in Paris? Also, what's 15 + 27?",
        base_url=sys.argv[2] if len(sys.argv) > 2 else None,
        api_key=os.environ.get("ANTHROPIC_API_KEY"),
        model="claude-opus-4-6",
        max_tokens=1024,
    )
    for message in runner:
        print(message)
