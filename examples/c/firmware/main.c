/* An agent on a Cortex-M3 without an operating system, a C library or a heap: it reads a sensor and
 * sets a lamp for a model, over a serial line that carries HTTP. */
#include "board.h"
#include "toolrunner.h"

static const char TOOLS[] =
    "[{\"name\":\"get_weather\",\"description\":\"Read the weather station on the roof.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{\"location\":{\"type\":\"string\"}},"
    "\"required\":[\"location\"]}},"
    "{\"name\":\"calculate_sum\",\"description\":\"Add two numbers together.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
    "\"b\":{\"type\":\"integer\"}},\"required\":[\"a\",\"b\"]}}]";

static const char PROMPT[] = "What's the weather like in Paris? Also, what's 15 + 27?";

static toolrunner_t machine;
static char memory[8 * 1024];

static int fail(const char *what) {
    static char text[256];
    toolrunner_error_text(&machine, text, sizeof text);
    print(what);
    print(" failed: ");
    print(text);
    print("\n");
    return 1;
}

static void show(const toolrunner_event *event) {
    char text[128];
    if (event->kind == TOOLRUNNER_EVENT_TEXT && toolrunner_unescape(event->data, text, sizeof text) < sizeof text) {
        print(text);
    } else if (event->kind == TOOLRUNNER_EVENT_MESSAGE_STOP) {
        print("\n");
    }
}

static void send(int32_t (*part)(toolrunner_t *, size_t, char *, size_t)) {
    char buffer[128];
    size_t offset = 0;
    int32_t length;
    while ((length = part(&machine, offset, buffer, sizeof buffer)) > 0) {
        serial_write(buffer, (size_t)length);
        offset += (size_t)length;
    }
}

/* One request and its reply. */
static int32_t exchange(void) {
    char buffer[64];
    toolrunner_event event;
    int32_t happened = 0;
    send(toolrunner_head);
    send(toolrunner_body);
    while (happened >= 0 && !toolrunner_http_is_done(&machine)) {
        size_t length = serial_read(buffer, sizeof buffer), at = 0, used;
        if (length == 0) {
            return toolrunner_failed(&machine, TOOLRUNNER_FAILED_TIMEOUT, now_ms(), 0);
        }
        do {
            happened = toolrunner_feed_http(&machine, buffer + at, length - at, &used, &event);
            at += used;
            if (happened > 0) {
                show(&event);
            }
        } while (happened > 0);
    }
    if (happened < 0) {
        return toolrunner_failed(&machine, TOOLRUNNER_FAILED_CLOSED, now_ms(), 0);
    }
    return TOOLRUNNER_OK;
}

static int32_t run_call(const toolrunner_call *call) {
    static const char WEATHER[] = "{\"temperature\":\"20 degrees\",\"condition\":\"Sunny\"}";
    toolrunner_text value;
    int64_t a = 0, b = 0;
    char digits[12], *at = digits + sizeof digits;
    uint32_t sum;
    if (call->tool == 0) {
        print("  [weather station read]\n");
        return toolrunner_answer(&machine, call->index, WEATHER, sizeof WEATHER - 1, 0);
    }
    print("  [numbers added]\n");
    toolrunner_member(call->input, "a", &value);
    toolrunner_integer(value, &a);
    toolrunner_member(call->input, "b", &value);
    toolrunner_integer(value, &b);
    sum = (uint32_t)(a + b);
    do {
        *--at = (char)('0' + sum % 10);
        sum /= 10;
    } while (sum > 0);
    return toolrunner_answer(&machine, call->index, at, (size_t)(digits + sizeof digits - at), 0);
}

int main(void) {
    static const toolrunner_config CONFIG = {
        .abi = TOOLRUNNER_ABI,
        .max_tokens = 256,
        .model = "claude-haiku-4-5",
        .system = "You are a \"chip\".",
        .tools = TOOLS,
        .base_url = "http://serial",
    };
    toolrunner_call call;
    uint64_t until;
    if (toolrunner_init(&machine, &CONFIG, memory, sizeof memory) < 0) {
        return fail("init");
    }
    if (toolrunner_user(&machine, PROMPT, sizeof PROMPT - 1) < 0) {
        return fail("prompt");
    }
    for (;;) {
        switch (toolrunner_step(&machine, now_ms(), &until)) {
        case TOOLRUNNER_STEP_SEND:
            if (exchange() < 0) {
                return fail("request");
            }
            break;
        case TOOLRUNNER_STEP_CALL:
            while (toolrunner_next_call(&machine, &call) > 0) {
                if (run_call(&call) < 0) {
                    return fail("call");
                }
            }
            break;
        case TOOLRUNNER_STEP_WAIT:
            while (now_ms() < until) {
            }
            break;
        case TOOLRUNNER_STEP_DONE:
            print("machine ");
            print_number((uint32_t)toolrunner_size());
            print(" bytes, stack ");
            print(stack_used() <= 8192 ? "within 8 KiB" : "more than 8 KiB");
            print("\n");
            return toolrunner_outcome(&machine, NULL) == TOOLRUNNER_OUTCOME_ENDED ? 0 : 1;
        default:
            return fail("step");
        }
    }
}
