/* An agent with two tools over plain sockets.
 *
 *     quickstart http://HOST:PORT [PROMPT]
 *
 * A server of the Messages API without TLS is what it talks to: a gateway, or the scripted model of
 * `cargo run -p toolrunner-examples --bin scripted_server`. For TLS replace send() and recv(). */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "toolrunner.h"

static const char TOOLS[] =
    "[{\"name\":\"get_weather\",\"description\":\"Get the current weather in a given location.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"location\":{\"type\":\"string\",\"description\":\"The city and state\"},"
    "\"unit\":{\"type\":\"string\",\"enum\":[\"celsius\",\"fahrenheit\"]}},\"required\":[\"location\"]}},"
    "{\"name\":\"calculate_sum\",\"description\":\"Add two numbers together.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},\"required\":[\"a\",\"b\"]}}]";

/* The machine and its conversation: no heap. */
static toolrunner_t machine;
static char memory[64 * 1024];

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Connects to the host and port of http://HOST:PORT. */
static int connect_to(const char *url) {
    char host[256];
    const char *start = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    const char *colon = strrchr(start, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *each;
    int connection = -1;
    if (colon == NULL || (size_t)(colon - start) >= sizeof host) {
        return -1;
    }
    memcpy(host, start, (size_t)(colon - start));
    host[colon - start] = 0;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        return -1;
    }
    for (each = found; each != NULL && connection < 0; each = each->ai_next) {
        connection = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
        if (connection >= 0 && connect(connection, each->ai_addr, each->ai_addrlen) != 0) {
            close(connection);
            connection = -1;
        }
    }
    freeaddrinfo(found);
    return connection;
}

/* Sends all of the request: head, then body, each in pieces of the buffer's size. */
static int send_request(int connection) {
    int32_t (*parts[2])(toolrunner_t *, size_t, char *, size_t) = {toolrunner_head, toolrunner_body};
    char buffer[1024];
    int part;
    for (part = 0; part < 2; part++) {
        size_t offset = 0;
        int32_t length;
        while ((length = parts[part](&machine, offset, buffer, sizeof buffer)) > 0) {
            int32_t sent = 0;
            while (sent < length) {
                ssize_t more = send(connection, buffer + sent, (size_t)(length - sent), MSG_NOSIGNAL);
                if (more <= 0) {
                    return -1;
                }
                sent += (int32_t)more;
            }
            offset += (size_t)length;
        }
        if (length < 0) {
            return -1;
        }
    }
    return 0;
}

/* Shows text as it comes. */
static void show(const toolrunner_event *event) {
    char text[256];
    if (event->kind == TOOLRUNNER_EVENT_TEXT) {
        toolrunner_text rest = event->data;
        /* The text is never longer than the escaped text; a real program may cut elsewhere. */
        if (toolrunner_unescape(rest, text, sizeof text) < sizeof text) {
            fputs(text, stdout);
            fflush(stdout);
        }
    } else if (event->kind == TOOLRUNNER_EVENT_MESSAGE_STOP) {
        putchar('\n');
    }
}

/* One request and its reply. Returns 0, or the error that toolrunner_failed() returned. */
static int32_t exchange(const char *url) {
    int32_t happened = 0;
    int connection = connect_to(url), why = TOOLRUNNER_FAILED_CONNECT;
    if (connection >= 0 && send_request(connection) == 0) {
        char buffer[1024];
        toolrunner_event event;
        why = TOOLRUNNER_FAILED_CLOSED;
        while (happened >= 0 && !toolrunner_http_is_done(&machine)) {
            ssize_t length = recv(connection, buffer, sizeof buffer, 0);
            size_t at = 0, used;
            if (length <= 0) {
                while ((happened = toolrunner_close_http(&machine, &event)) > 0) {
                    show(&event);
                }
                break;
            }
            do {
                happened = toolrunner_feed_http(&machine, buffer + at, (size_t)length - at, &used, &event);
                at += used;
                if (happened > 0) {
                    show(&event);
                }
            } while (happened > 0);
        }
        close(connection);
        if (happened == 0 && toolrunner_reply_is_whole(&machine) == 1) {
            return TOOLRUNNER_OK;
        }
    } else if (connection >= 0) {
        close(connection);
    }
    return toolrunner_failed(&machine, why, now_ms(), (uint32_t)rand());
}

/* Runs one call: here each tool is a branch. */
static int32_t run_call(const toolrunner_call *call) {
    char result[128], text[64];
    toolrunner_text value;
    uint32_t index = call->index;
    printf("  call   %.*s %.*s\n", (int)call->name.len, call->name.ptr, (int)call->input.len, call->input.ptr);
    if (call->tool == 0) {
        toolrunner_member(call->input, "unit", &value);
        toolrunner_unescape(value, text, sizeof text);
        snprintf(result, sizeof result, "{\"temperature\":\"%s\",\"condition\":\"Sunny\"}",
                 strcmp(text, "celsius") == 0 ? "20°C" : "68°F");
    } else {
        int64_t a = 0, b = 0;
        toolrunner_member(call->input, "a", &value);
        toolrunner_integer(value, &a);
        toolrunner_member(call->input, "b", &value);
        toolrunner_integer(value, &b);
        snprintf(result, sizeof result, "%lld", (long long)(a + b));
    }
    printf("  result %s\n", result);
    return toolrunner_answer(&machine, index, result, strlen(result), 0);
}

static int fail(const char *what) {
    char text[512];
    toolrunner_error_text(&machine, text, sizeof text);
    fprintf(stderr, "error: %s: %s\n", what, text);
    return 1;
}

int main(int count, char **arguments) {
    const char *prompt = count > 2 ? arguments[2] : "What's the weather like in Paris? Also, what's 15 + 27?";
    toolrunner_config config = {
        .abi = TOOLRUNNER_ABI,
        .max_tokens = 1024,
        .model = "claude-haiku-4-5",
        .system = "Answer in \"plain\" words.",
        .tools = TOOLS,
        .api_key = getenv("ANTHROPIC_API_KEY"),
    };
    toolrunner_call call;
    toolrunner_usage usage;
    uint64_t until = 0;
    if (count < 2) {
        fputs("usage: quickstart http://HOST:PORT [PROMPT]\n", stderr);
        return 2;
    }
    config.base_url = arguments[1];
    if (toolrunner_init(&machine, &config, memory, sizeof memory) != TOOLRUNNER_OK) {
        return fail("init");
    }
    toolrunner_limit(&machine, TOOLRUNNER_LIMIT_TURNS, 10);
    if (toolrunner_user(&machine, prompt, strlen(prompt)) != TOOLRUNNER_OK) {
        return fail("prompt");
    }
    printf("You: %s\n\n", prompt);
    for (;;) {
        int32_t step = toolrunner_step(&machine, now_ms(), &until);
        switch (step) {
        case TOOLRUNNER_STEP_SEND:
            if (exchange(config.base_url) < 0) {
                return fail("request");
            }
            break;
        case TOOLRUNNER_STEP_CALL:
            while (toolrunner_next_call(&machine, &call) > 0) {
                if (run_call(&call) < 0) {
                    return fail("call");
                }
            }
            putchar('\n');
            break;
        case TOOLRUNNER_STEP_WAIT: {
            uint64_t now = now_ms(), wait = until > now ? until - now : 0;
            struct timespec pause = {(time_t)(wait / 1000), (long)(wait % 1000) * 1000000};
            nanosleep(&pause, NULL);
            break;
        }
        case TOOLRUNNER_STEP_DONE: {
            toolrunner_text detail;
            int32_t outcome = toolrunner_outcome(&machine, &detail);
            toolrunner_tokens(&machine, &usage);
            printf("\n%d turns, %llu tokens in, %llu tokens out\n", (int)toolrunner_turns(&machine),
                   (unsigned long long)usage.input_tokens, (unsigned long long)usage.output_tokens);
            if (outcome != TOOLRUNNER_OUTCOME_ENDED) {
                fprintf(stderr, "the run did not end by itself: %.*s\n", (int)detail.len, detail.ptr);
                return 1;
            }
            return 0;
        }
        default:
            return fail("step");
        }
    }
}
