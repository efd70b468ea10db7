//! Many concurrent changes through two handles.

use std::collections::HashSet;

use super::*;
use crate::store::{DeleteResult, Part};

const TASKS: usize = 16;

pub(super) async fn one_of_many_commits_wins(one: &Handle, two: &Handle, rounds: usize) {
    let mut record = session(one).await;
    for round in 0..rounds {
        let results = at_once(one, two, TASKS, |task, store| {
            let document = Bytes::from(format!("{round}/{task}"));
            let next = Commit { document, ..change(&record, task % 3) };
            async move { (next.clone(), store.commit(next).await.unwrap()) }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) =
            results.into_iter().partition(|(_, result)| *result == CommitResult::Done);
        assert_eq!(won.len(), 1, "round {round}");
        let (winner, _) = &won[0];
        let now = load(if round % 2 == 0 { one } else { two }, record.id).await;
        assert_eq!(
            (&now.document, now.token, now.version),
            (&winner.document, winner.token, record.version + 1)
        );
        assert_eq!(now.head, record.head + winner.rows.len() as u64);
        for (_, result) in lost {
            // The conflict shows the winner's version, because nobody has tried again yet.
            assert_eq!(
                result,
                CommitResult::Conflict(Some(Box::new(now.clone()))),
                "round {round}"
            );
        }
        record = now;
    }
    one.delete(record.id, None).await.unwrap();
}

/// Each writer repeats until it has succeeded `rounds` times. Each success is one version and its
/// rows, in one piece.
pub(super) async fn every_commit_counts_once(one: &Handle, two: &Handle, rounds: usize) {
    const WRITERS: usize = 6;
    let record = session(one).await;
    let id = record.id;
    at_once(one, two, WRITERS, |task, store| {
        let mut record = record.clone();
        async move {
            for round in 0..rounds {
                loop {
                    let rows = (1..=3).map(|part| Row {
                        seq: record.head + part,
                        event: format!("{task}/{round}/{part}").into(),
                        patch: None,
                    });
                    let next = Commit { rows: rows.collect(), ..change(&record, 0) };
                    match store.commit(next).await.unwrap() {
                        CommitResult::Done => {
                            record = load(&store, id).await;
                            break;
                        }
                        CommitResult::Conflict(now) => record = *now.expect("it is there"),
                        CommitResult::Replay(_) => unreachable!("without a key"),
                    }
                }
            }
        }
    })
    .await;
    let record = load(two, id).await;
    let expected = WRITERS * rounds;
    assert_eq!((record.version, record.head), (1 + expected as u64, 3 * expected as u64));
    let rows = one.rows(id, 0, usize::MAX, usize::MAX, Part::Events).await.unwrap();
    assert_eq!(rows.len(), 3 * expected);
    assert!(rows.iter().zip(1..).all(|(row, seq)| row.seq == seq), "without gaps");
    let mut seen = HashSet::new();
    for three in rows.chunks(3) {
        let texts: Vec<_> =
            three.iter().map(|row| String::from_utf8(row.event.to_vec()).unwrap()).collect();
        let name = texts[0].strip_suffix("/1").expect("the first of its commit").to_owned();
        assert_eq!(texts[1..], [format!("{name}/2"), format!("{name}/3")]);
        assert!(seen.insert(name), "twice: {texts:?}");
    }
    one.delete(id, None).await.unwrap();
}

pub(super) async fn one_key_creates_one_session(one: &Handle, two: &Handle, rounds: usize) {
    for round in 0..rounds {
        let (owner, key) = (format!("race-{}", Uuid::new_v4()), format!("key {round}"));
        let results = at_once(one, two, TASKS, |task, store| {
            let answer = format!("{task}").into();
            let new = NewSession {
                idempotent: Some(IdempotencyRecord { answer, ..idempotent(&owner, &key) }),
                ..new_session(&owner)
            };
            async move { (new.id, task, store.create(new).await.unwrap()) }
        })
        .await;
        let winners: Vec<_> =
            results.iter().filter(|(.., result)| *result == CreateResult::Done).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        let (id, task, _) = winners[0];
        let kept =
            IdempotencyRecord { answer: format!("{task}").into(), ..idempotent(&owner, &key) };
        for (.., result) in &results {
            assert!(
                *result == CreateResult::Done || *result == CreateResult::Replay(kept.clone()),
                "{result:?}"
            );
        }
        let there = list(two, query(&owner)).await;
        assert_eq!(there.iter().map(|session| session.id).collect::<Vec<_>>(), [*id]);
        one.delete(*id, None).await.unwrap();
    }
}

pub(super) async fn one_key_commits_once(one: &Handle, two: &Handle, rounds: usize) {
    let mut record = session(one).await;
    for round in 0..rounds {
        let (scope, key) = (record.id.to_string(), format!("key {round}"));
        // Each writer repeats from the version that it receives, as a server does.
        let results = at_once(one, two, TASKS, |task, store| {
            let (mut record, answer) = (
                record.clone(),
                IdempotencyRecord { answer: format!("{task}").into(), ..idempotent(&scope, &key) },
            );
            async move {
                loop {
                    let next = Commit { idempotent: Some(answer.clone()), ..change(&record, 1) };
                    match store.commit(next).await.unwrap() {
                        CommitResult::Conflict(now) => record = *now.expect("it is there"),
                        result => return (answer, result),
                    }
                }
            }
        })
        .await;
        let winners: Vec<_> =
            results.iter().filter(|(_, result)| *result == CommitResult::Done).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let (kept, _) = winners[0];
        for (_, result) in &results {
            assert!(
                *result == CommitResult::Done || *result == CommitResult::Replay(kept.clone()),
                "{result:?}"
            );
        }
        let now = load(two, record.id).await;
        assert_eq!((now.version, now.head), (record.version + 1, record.head + 1));
        record = now;
    }
    one.delete(record.id, None).await.unwrap();
}

pub(super) async fn one_server_takes_over(one: &Handle, two: &Handle, rounds: usize) {
    let record = session(one).await;
    let mut record = commit(
        one,
        Commit {
            status: Status::Running,
            holder: Holder::Take(Uuid::new_v4()),
            ..change(&record, 0)
        },
    )
    .await;
    for round in 0..rounds {
        // The former holder continues to write while others take the session from it.
        let results = at_once(one, two, TASKS, |task, store| {
            let record = record.clone();
            async move {
                let next = match task {
                    0 => Commit { fence: Some(record.fence), ..change(&record, 1) },
                    _ => Commit { holder: Holder::Take(Uuid::new_v4()), ..change(&record, 0) },
                };
                let done = store.commit(next.clone()).await.unwrap() == CommitResult::Done;
                (task, next.holder, done)
            }
        })
        .await;
        let winners: Vec<_> = results.iter().filter(|(.., done)| *done).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        let now = load(two, record.id).await;
        match winners[0].1 {
            Holder::Take(server) => {
                assert_eq!((now.holder, now.fence), (Some(server), record.fence + 1))
            }
            Holder::Keep | Holder::Release => {
                assert_eq!((now.holder, now.fence), (record.holder, record.fence))
            }
        }
        record = now;
    }
    one.delete(record.id, None).await.unwrap();
}

pub(super) async fn a_limit_holds(one: &Handle, two: &Handle) {
    let limit = Some(one.count().await.unwrap() + 3);
    let owner = "limited";
    let results = at_once(one, two, TASKS, |_, store| async move {
        let new = NewSession { limit, ..new_session(owner) };
        store.create(new).await.unwrap()
    })
    .await;
    assert_eq!(
        results.iter().filter(|result| **result == CreateResult::Done).count(),
        3,
        "{results:?}"
    );
    assert_eq!(
        results.iter().filter(|result| **result == CreateResult::Full).count(),
        TASKS - 3,
        "{results:?}"
    );
    for session in list(one, query(owner)).await {
        one.delete(session.id, None).await.unwrap();
    }
}

pub(super) async fn a_session_is_deleted_once(one: &Handle, two: &Handle, rounds: usize) {
    for round in 0..rounds {
        let record = session(one).await;
        let results = at_once(one, two, TASKS, |task, store| {
            let record = record.clone();
            async move {
                match task {
                    0 => (
                        store.commit(change(&record, 1)).await.unwrap() == CommitResult::Done,
                        false,
                    ),
                    _ => (
                        false,
                        store.delete(record.id, Some(1)).await.unwrap() == DeleteResult::Done,
                    ),
                }
            }
        })
        .await;
        let committed = results.iter().filter(|(committed, _)| *committed).count();
        let deleted = results.iter().filter(|(_, deleted)| *deleted).count();
        assert_eq!(committed + deleted, 1, "round {round}: {results:?}");
        let left = two.load(record.id).await.unwrap();
        assert_eq!(left.map(|record| record.version), (committed == 1).then_some(2));
        one.delete(record.id, None).await.unwrap();
    }
}
