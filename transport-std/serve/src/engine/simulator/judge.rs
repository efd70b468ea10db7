//! The checks after a schedule, and the tests.

use super::*;

impl World {
    /// Checks what must hold at the end of every schedule.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        if let Some(violation) = self.violation.take() {
            return Err(violation);
        }
        let record = self.record();
        let rows = now(self.store.rows(self.session, 0, 10_000, usize::MAX, Part::Events));
        let events: Vec<Value> =
            rows.iter().map(|row| serde_json::from_slice(&row.event).unwrap()).collect();
        for (row, event) in self.acknowledged.iter().zip(1..) {
            let stored = rows.get(usize::try_from(row.0 - 1).unwrap()).map(|row| &row.event);
            if stored != Some(row.1) {
                return Err(format!("acknowledged row {event} is lost"));
            }
        }
        let (mut turn, mut is_under_way, mut open, mut sent) = (0, false, HashSet::new(), 0);
        for (event, seq) in events.iter().zip(1_u64..) {
            if event["seq"] != seq {
                return Err(format!("row {seq} has the number {}", event["seq"]));
            }
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            match text("type").as_str() {
                "user.message" => {
                    if is_under_way || !open.is_empty() {
                        return Err(format!(
                            "a turn began while another was under way, at row {seq}"
                        ));
                    }
                    (turn, is_under_way, sent) = (turn + 1, true, sent + 1);
                }
                "agent.tool_use" => {
                    open.insert(text("id"));
                }
                "agent.tool_result" if !open.remove(&text("tool_use_id")) => {
                    return Err(format!("a call has two results, at row {seq}"));
                }
                "session.status_idle" if event["stop_reason"]["type"] != "requires_action" => {
                    if !open.is_empty() {
                        return Err(format!(
                            "the turn ended at row {seq} with calls that have no result"
                        ));
                    }
                    if !core::mem::replace(&mut is_under_way, false) {
                        return Err(format!("a turn ended twice, at row {seq}"));
                    }
                }
                _ => {}
            }
            if event["turn"] != turn {
                return Err(format!("row {seq} is of turn {} in turn {turn}", event["turn"]));
            }
        }
        if sent != self.messages {
            return Err(format!("{} messages were stored, {sent} are in the log", self.messages));
        }
        if record.status == Status::Running {
            return Err("nobody goes on with the turn".to_owned());
        }
        self.judge_webhooks(&record, &events)
    }
}

/// Runs schedules until one fails. Returns its seed and the reason.
fn first_wrong(seeds: core::ops::Range<u64>, plant: Plant) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let mut world = World::new(seed, plant);
        world.run();
        world.judge().err().map(|verdict| (seed, verdict))
    })
}

#[test]
fn no_step_is_lost_and_no_tool_runs_twice() {
    let schedules = std::env::var("SIMULATOR_SCHEDULES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(300);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let part = schedules / threads + 1;
        let halves: Vec<_> = (0..threads)
            .map(|i| scope.spawn(move || first_wrong(i * part..(i + 1) * part, Plant::Nothing)))
            .collect();
        for half in halves {
            let wrong = half.join().unwrap();
            assert!(wrong.is_none(), "{wrong:?}");
        }
    });
}

#[test]
fn the_judge_notices_what_is_broken_on_purpose() {
    for plant in [
        Plant::RunsWithoutLeave,
        Plant::NoCompareAndSet,
        Plant::LosesCommits,
        Plant::ForgetsStarts,
        Plant::ForgetsWebhooks,
    ] {
        let wrong = first_wrong(0..2_000, plant);
        assert!(wrong.is_some(), "{plant:?} goes unnoticed");
    }
}

#[test]
fn schedules_do_something() {
    let (mut runs, mut turns, mut interrupts, mut takeovers) = (0, 0, 0, 0);
    let (mut webhooks, mut repeated) = (0, 0);
    for seed in 0..300 {
        let mut world = World::new(seed, Plant::Nothing);
        world.run();
        runs += world.runs.values().sum::<u32>();
        turns += world.messages;
        webhooks += world.arrived.len();
        repeated += world.arrived.values().filter(|ids| ids.len() > 1).count();
        let rows = now(world.store.rows(world.session, 0, 10_000, usize::MAX, Part::Events));
        let texts: Vec<String> =
            rows.iter().map(|row| String::from_utf8_lossy(&row.event).into_owned()).collect();
        interrupts += texts.iter().filter(|text| text.contains("requires_action")).count();
        takeovers += texts
            .iter()
            .filter(|text| text.contains("the server stopped while this call ran"))
            .count();
    }
    assert!(webhooks > 200 && repeated > 20, "{webhooks} {repeated}");
    assert!(
        runs > 300 && turns > 300 && interrupts > 50 && takeovers > 20,
        "{runs} {turns} {interrupts} {takeovers}"
    );
}
