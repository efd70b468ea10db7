//! What the C interface refuses, and what it reads.
use core::ptr;

use crate::support::*;
use toolrunner::*;

#[test]
fn what_does_not_fit_says_how_much_it_needs() {
    let mut program = Program::new(&config(None), 64);
    assert_eq!(program.user(&"x".repeat(100)), TOOLRUNNER_ERROR_CAPACITY);
    let mut info = toolrunner_error_info {
        code: 0,
        status: 0,
        needed: 0,
        free: 0,
        what: toolrunner_text { ptr: ptr::null(), len: 0 },
    };
    // SAFETY: there is a place for the result.
    unsafe { toolrunner_error(program.at(), &raw mut info) };
    assert_eq!((info.needed, info.free, string(info.what).as_str()), (128, 64, "transcript"));
    assert_eq!(program.error(), "transcript full: 128 needed, 64 free");
    let mut short = [b'x'; 12];
    // SAFETY: the length is right.
    let len =
        unsafe { toolrunner_error_text(program.at(), short.as_mut_ptr().cast(), short.len()) };
    assert_eq!((len, &short), (36, b"transcript \0"));
}

#[test]
fn what_no_request_could_carry_is_refused_at_init() {
    let twice = c"[{\"name\":\"a\",\"input_schema\":{\"type\":\"object\"}},{\"name\":\"a\",\"input_schema\":{\"type\":\"object\"}}]";
    let good = config(None);
    let cases = [
        (toolrunner_config { abi: 0, ..good }, "different interface version"),
        (toolrunner_config { model: ptr::null(), ..good }, "model"),
        (toolrunner_config { model: c"\xff".as_ptr(), ..good }, "UTF-8"),
        (toolrunner_config { tools: c"{}".as_ptr(), ..good }, "JSON array"),
        (toolrunner_config { tools: twice.as_ptr(), ..good }, "tool 1: duplicate name"),
        (
            toolrunner_config {
                tools: c"[{\"name\":\"a b\",\"input_schema\":{\"type\":\"object\"}}]".as_ptr(),
                ..good
            },
            "name of tool 0",
        ),
        (toolrunner_config { params: c"{".as_ptr(), ..good }, "params"),
        (
            toolrunner_config { params: c"\"tools\":[]".as_ptr(), ..good },
            "must not repeat a member",
        ),
        (
            toolrunner_config { params: c"\"system\":\"b\"".as_ptr(), ..config(Some(c"a\n")) },
            "must not repeat a member",
        ),
        (toolrunner_config { base_url: c"scripted".as_ptr(), ..good }, "http://"),
        (toolrunner_config { api_key: c"a\r\nb".as_ptr(), ..good }, "control character"),
    ];
    for (config, why) in cases {
        let mut program = Program::empty(64);
        assert_eq!(program.init(&config), TOOLRUNNER_ERROR_MISUSE, "{why}");
        assert!(program.error().contains(why), "{why}: {}", program.error());
        assert_eq!(program.step(), TOOLRUNNER_ERROR_MISUSE);
    }
}

#[test]
fn json_is_read_without_a_parser() {
    let lend = |text: &'static str| toolrunner_text { ptr: text.as_ptr().cast(), len: text.len() };
    let empty = toolrunner_text { ptr: ptr::null(), len: 0 };
    let object = lend(r#"{"a":{"b":[1,"two",-3]},"c":1.5e2,"d":"\u00e9\n","e":9007199254740993}"#);
    let (mut value, mut integer, mut number) = (empty, 0, 0.0);
    // SAFETY: there are places for the results.
    unsafe {
        assert_eq!(toolrunner_member(object, c"a".as_ptr(), &raw mut value), 1);
        assert_eq!(toolrunner_member(value, c"b".as_ptr(), &raw mut value), 1);
        let array = value;
        assert_eq!(toolrunner_element(array, 2, &raw mut value), 1);
        assert_eq!((toolrunner_integer(value, &raw mut integer), integer), (1, -3));
        assert_eq!(toolrunner_element(array, 1, &raw mut value), 1);
        assert_eq!(unescaped(value), "two");
        assert_eq!(toolrunner_integer(value, &raw mut integer), 0);
        assert_eq!(toolrunner_number(value, &raw mut number), 0);
        assert_eq!(toolrunner_element(array, 3, &raw mut value), 0);
        assert_eq!((value.len, toolrunner_element(object, 0, &raw mut value)), (0, 0));
        assert_eq!(toolrunner_member(object, c"c".as_ptr(), &raw mut value), 1);
        assert_eq!((toolrunner_number(value, &raw mut number), number), (1, 150.0));
        assert_eq!((toolrunner_integer(value, &raw mut integer), integer), (1, 150));
        assert_eq!(toolrunner_member(object, c"d".as_ptr(), &raw mut value), 1);
        assert_eq!(unescaped(value), "é\n");
        assert_eq!(toolrunner_member(object, c"e".as_ptr(), &raw mut value), 1);
        assert_eq!(
            (toolrunner_integer(value, &raw mut integer), integer),
            (1, 9_007_199_254_740_993)
        );
        assert_eq!(toolrunner_member(object, c"x".as_ptr(), &raw mut value), 0);
        assert_eq!(toolrunner_member(object, ptr::null(), &raw mut value), 0);
        assert_eq!(toolrunner_integer(empty, ptr::null_mut()), 0);
        assert_eq!(toolrunner_unescape(lend("cut"), ptr::null_mut(), 0), 3);
        assert_eq!(toolrunner_size(), size_of::<toolrunner_t>());
        assert_eq!(toolrunner_abi(), TOOLRUNNER_ABI);
        assert_eq!(toolrunner_drain_ms(), 1000);
    }
}

/// Without a machine every function says so and does nothing.
#[test]
fn null_and_empty_places_are_refused() {
    let mut empty = Program::empty(1);
    for machine in [ptr::null_mut(), empty.at()] {
        let (null, out) = (ptr::null(), ptr::null_mut());
        // SAFETY: null is allowed everywhere.
        let codes = unsafe {
            [
                toolrunner_step(machine, 0, ptr::null_mut()),
                toolrunner_user(machine, null, 0),
                toolrunner_append(machine, null, 0),
                toolrunner_replace_history(machine, null, 0),
                toolrunner_clear(machine),
                toolrunner_retry(machine),
                toolrunner_cancel(machine),
                toolrunner_resume(machine),
                toolrunner_outcome(machine, ptr::null_mut()),
                toolrunner_tokens(machine, ptr::null_mut()),
                toolrunner_turns(machine),
                toolrunner_messages(machine, ptr::null_mut()),
                toolrunner_error(machine, ptr::null_mut()),
                toolrunner_head(machine, 0, out, 0),
                toolrunner_body(machine, 0, out, 0),
                toolrunner_field(machine, 0, ptr::null_mut(), ptr::null_mut()),
                toolrunner_url(machine, ptr::null_mut(), ptr::null_mut()),
                toolrunner_feed_http(machine, null, 0, ptr::null_mut(), ptr::null_mut()),
                toolrunner_close_http(machine, ptr::null_mut()),
                toolrunner_http_is_done(machine),
                toolrunner_reply(machine, 200),
                toolrunner_reply_field(machine, null, 0, null, 0),
                toolrunner_feed(machine, null, 0, ptr::null_mut(), ptr::null_mut()),
                toolrunner_end_of_body(machine, ptr::null_mut()),
                toolrunner_reply_is_whole(machine),
                toolrunner_failed(machine, 0, 0, 0),
                toolrunner_next_call(machine, ptr::null_mut()),
                toolrunner_answer(machine, 0, null, 0, 0),
                toolrunner_answer_json(machine, 0, null, 0, 0),
                toolrunner_answer_failed(machine, 0, null, 0),
                toolrunner_deny(machine, 0, null, 0),
                toolrunner_not_found(machine, 0),
                toolrunner_result(machine, 0, ptr::null_mut()),
                toolrunner_suspend(machine, 0),
                toolrunner_suspended(machine, ptr::null_mut()),
                toolrunner_allow(machine, 0, ptr::null_mut()),
                toolrunner_snapshot(machine, out, 0, ptr::null_mut()),
                toolrunner_limit(machine, 1, 1),
                toolrunner_retries(machine, 1, 1, 1, 1),
                toolrunner_when_full(machine, 1, 1),
            ]
        };
        assert_eq!(codes, [TOOLRUNNER_ERROR_MISUSE; 40]);
        // SAFETY: the same.
        unsafe {
            assert_eq!(toolrunner_body_len(machine), 0);
            assert_eq!(toolrunner_last_text(machine, out, 0), 0);
            assert_eq!(
                toolrunner_error_text(machine, out, 0),
                "the machine pointer is not valid".len()
            );
        }
    }
    // SAFETY: the same.
    unsafe {
        let null = ptr::null_mut();
        assert_eq!(toolrunner_init(null, &config(None), null.cast(), 0), TOOLRUNNER_ERROR_MISUSE);
        assert_eq!(
            toolrunner_init(empty.at(), ptr::null(), null.cast(), 0),
            TOOLRUNNER_ERROR_MISUSE
        );
    }
    assert_eq!(empty.error(), "misuse: the configuration is a null pointer");
}
