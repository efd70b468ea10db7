//! Every method of the machine, fed with bytes that the compiler cannot know.
#![no_std]
#![no_main]

use core::hint::black_box;

use toolrunner_core::error::Error;
use toolrunner_core::run::{
    Compaction, MakeRoom, OnBreak, Run, Step, ToolAnswer, WhenFull, WrittenResult,
};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::MessageThread;

unsafe extern "C" {
    /// Defined nowhere: whoever can reach it does not link.
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never runs: it does not link.
    unsafe { a_panic_is_reachable() }
}

/// Enables the optional feature that `EXTRA` names when this is built: see `extras.py`.
fn enable_extra(run: &mut Run<'_>) -> Result<(), Error> {
    match option_env!("EXTRA") {
        Some("kept_blocks") => run.set_on_break(OnBreak::KeepBlocks),
        Some("message_threads") => run.set_message_thread(MessageThread::Free),
        Some("limits") => run.limits_mut().turns = Some(black_box(3)),
        Some("room") => *run.when_full_mut() = WhenFull { room: 9, then: MakeRoom::DropOldest },
        Some("server_compaction") => run.compact_on_server(),
        Some("summaries") => *run.compaction_mut() = Some(Compaction::DEFAULT),
        Some("unique_ids") => run.set_unique_ids(black_box(true))?,
        _ => {}
    }
    Ok(())
}

/// The machine's whole surface.
fn drive(memory: &mut [u8], input: &[u8], text: &str, now: Instant) -> Result<usize, Error> {
    let mut run = Run::new(Transcript::new(memory));
    enable_extra(&mut run)?;
    run.user(text)?;
    loop {
        match run.step(now)? {
            Step::Send => {
                let before: &[&[u8]] = &[input];
                black_box(run.body(before).pieces().map(<[u8]>::len).sum::<usize>());
                let mut head = ReplyHead::new(black_box(200));
                head.field(text, input);
                run.head_arrived(&head);
            }
            Step::Receive => {
                let mut rest = input;
                loop {
                    match run.feed(&mut rest) {
                        Ok(Some(stream_event)) => {
                            black_box(run.mark_shown(stream_event));
                        }
                        Ok(None) => break,
                        Err(error) => {
                            black_box(run.failed(error, now, 7)?);
                            break;
                        }
                    }
                }
                match run.end_of_body() {
                    Ok(stream_event) => {
                        if let Some(stream_event) = stream_event {
                            black_box(run.peek(stream_event));
                        }
                    }
                    Err(error) => {
                        black_box(run.failed(error, now, 7)?);
                    }
                }
            }
            Step::Call => {
                let Some(call) = run.next_call() else { continue };
                if run.refuse_bad_input(call)? {
                    continue;
                }
                match black_box(call.get() % 4) {
                    0 => run.answer_not_found(call)?,
                    1 => run.leave_to_caller(call),
                    2 => run.answer(call, ToolAnswer::error_json(input))?,
                    _ => {
                        let called = run.start_in_place(call)?;
                        let mut out = called.out;
                        black_box(called.call.input);
                        let _ = out.text(text);
                        let written = WrittenResult::new(Ok(()), out);
                        run.end_in_place(call, written)?;
                    }
                }
                run.replace_result(call, ToolAnswer::ok_json(input))?;
                run.add_to_result(call, text)?;
                black_box(run.results().count());
            }
            Step::Wait(until) => {
                black_box(until);
                run.stop();
                run.resume();
            }
            Step::Done(_) => break,
        }
        run.append(text)?;
        run.ask_again()?;
        run.replace_history(text)?;
        black_box(run.api_error().map(|error| error.message.len()));
        black_box(run.last_message().map(|message| message.blocks().count()));
    }
    Ok(run.transcript().len())
}

#[unsafe(no_mangle)]
extern "C" fn entry() -> usize {
    let mut memory = [0; 1024];
    let input = black_box(&[0_u8; 64][..]);
    let text = black_box("text");
    drive(black_box(&mut memory), input, text, black_box(Instant::ZERO)).unwrap_or(1)
}
