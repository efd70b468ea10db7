//! Holders of sessions.

use super::*;

pub(super) async fn fence_out_the_former_holder(one: &Handle, two: &Handle) {
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let record = session(one).await;
    let held = commit(
        one,
        Commit { status: Status::Running, holder: Holder::Take(first), ..change(&record, 1) },
    )
    .await;
    assert_eq!((held.holder, held.fence), (Some(first), 1));
    let taken = commit(two, Commit { holder: Holder::Take(second), ..change(&held, 0) }).await;
    assert_eq!((taken.holder, taken.fence), (Some(second), 2));
    // The first holder has not noticed the takeover. Neither its old version nor the new one, which
    // it may have learned, helps it.
    for expect in [held.version, taken.version] {
        let stale = Commit { expect, fence: Some(held.fence), ..change(&taken, 1) };
        assert_eq!(
            one.commit(stale).await.unwrap(),
            CommitResult::Conflict(Some(Box::new(taken.clone())))
        );
    }
    // A writer without a fence may change the session, as a cancel does. The holder's fence stays
    // valid; its version does not.
    let cancelled = commit(one, change(&taken, 1)).await;
    assert_eq!((cancelled.holder, cancelled.fence), (Some(second), 2));
    let behind = Commit { fence: Some(2), ..change(&taken, 1) };
    assert!(matches!(two.commit(behind).await.unwrap(), CommitResult::Conflict(Some(_))));
    let done = Commit {
        status: Status::Idle,
        holder: Holder::Release,
        fence: Some(2),
        ..change(&cancelled, 1)
    };
    let released = commit(two, done).await;
    assert_eq!((released.holder, released.fence), (None, 2));
    one.delete(record.id, None).await.unwrap();
}

pub(super) async fn end_when_a_server_dies(one: &Handle, two: &Handle) {
    let (alive, dead, silent) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    one.beat(alive, Timestamp(20_000)).await.unwrap();
    one.beat(dead, Timestamp(10_000)).await.unwrap();
    let mut ids = Vec::new();
    for holder in [Holder::Take(alive), Holder::Take(dead), Holder::Take(silent), Holder::Keep] {
        let record = session(one).await;
        ids.push(
            commit(one, Commit { status: Status::Running, holder, ..change(&record, 0) }).await.id,
        );
    }
    // A session that is neither running nor held needs no takeover.
    let record = session(one).await;
    let interrupted =
        commit(one, Commit { status: Status::Interrupted, ..change(&record, 0) }).await;
    let record = session(one).await;
    let held = commit(one, Commit { holder: Holder::Take(alive), ..change(&record, 0) }).await;
    let released = Commit { holder: Holder::Release, ..change(&held, 0) };
    let idle = commit(one, released).await;
    let orphans = async |now: u64, limit| {
        let mut found = two.orphans(Timestamp(now), limit).await.unwrap();
        found.sort_by_key(|id| ids.iter().position(|known| known == id));
        found
    };
    assert_eq!(orphans(9_999, 100).await, ids[2..]);
    assert_eq!(orphans(10_000, 100).await, ids[1..]);
    assert_eq!(orphans(19_999, 100).await, ids[1..]);
    assert_eq!(orphans(20_000, 100).await, ids);
    assert_eq!(orphans(20_000, 2).await.len(), 2);
    // The latest beat counts, even if it expires earlier.
    two.beat(dead, Timestamp(30_000)).await.unwrap();
    two.beat(alive, Timestamp(15_000)).await.unwrap();
    assert_eq!(orphans(15_000, 100).await, [ids[0], ids[2], ids[3]]);
    // Taken over, then finished.
    let record = load(one, ids[0]).await;
    let record = commit(two, Commit { holder: Holder::Take(dead), ..change(&record, 0) }).await;
    assert_eq!(orphans(15_000, 100).await, ids[2..]);
    commit(two, Commit { status: Status::Error, holder: Holder::Release, ..change(&record, 0) })
        .await;
    assert_eq!(orphans(40_000, 100).await, ids[1..]);
    // Held but not running: the holder has work left.
    let held = commit(one, Commit { holder: Holder::Take(dead), ..change(&idle, 0) }).await;
    assert!(!orphans(29_999, 100).await.contains(&held.id));
    assert!(orphans(40_000, 100).await.contains(&held.id));
    let held = commit(two, change(&held, 0)).await;
    assert!(orphans(40_000, 100).await.contains(&held.id), "a commit that keeps the holder");
    commit(two, Commit { holder: Holder::Release, ..change(&held, 0) }).await;
    assert!(!orphans(40_000, 100).await.contains(&held.id));
    // A server is forgotten long after it was last alive, not before.
    two.sweep(Timestamp(31_000)).await.unwrap();
    assert_eq!(orphans(29_999, 100).await, ids[2..]);
    for id in ids.iter().chain([&idle.id, &interrupted.id]) {
        one.delete(*id, None).await.unwrap();
    }
}

pub(super) async fn changes_are_noticed(one: &Handle, two: &Handle) {
    let record = session(two).await;
    // Earlier changes may be reported once.
    let _ = tokio::time::timeout(Duration::from_millis(300), one.changed()).await;
    for record in [record.clone(), Record { version: 2, ..record }] {
        let waiting = {
            let one = Arc::clone(one);
            tokio::spawn(async move { one.changed().await })
        };
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(two.commit(change(&record, 0)).await.unwrap(), CommitResult::Done);
        tokio::time::timeout(Duration::from_secs(1), waiting)
            .await
            .expect("a change is reported within a second")
            .unwrap();
        assert_eq!(
            one.versions(&[record.id]).await.unwrap(),
            [Some(record.version + 1)],
            "a reported change can be read"
        );
    }
    // A change is reported even if nobody was waiting when it happened.
    let record = load(two, record.id).await;
    assert_eq!(two.commit(change(&record, 0)).await.unwrap(), CommitResult::Done);
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(Duration::from_secs(1), one.changed())
        .await
        .expect("told of what came before");
    two.delete(record.id, None).await.unwrap();
}
