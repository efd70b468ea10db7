//! Commits and the log.

use super::*;
use crate::store::Part;

pub(super) async fn commits_change_what_they_name(one: &Handle, two: &Handle) {
    let before = session(one).await;
    let server = Uuid::new_v4();
    let next = Commit {
        now: Timestamp(2_000),
        expires: Some(Timestamp(u64::from(u32::MAX) * 1_000)),
        status: Status::Running,
        messages: 7,
        document: Bytes::from_static(b"\x00\x01"),
        holder: Holder::Take(server),
        ..change(&before, 2)
    };
    let record = commit(one, next.clone()).await;
    let expected = Record {
        updated: next.now,
        expires: next.expires,
        version: 2,
        head: 2,
        status: Status::Running,
        messages: 7,
        holder: Some(server),
        fence: 1,
        token: next.token,
        document: next.document,
        ..before
    };
    assert_eq!(record, expected);
    assert_eq!(load(two, record.id).await, expected);
    assert_eq!(two.versions(&[record.id]).await.unwrap(), [Some(2)]);
    let kept = commit(two, Commit { fence: Some(1), ..change(&record, 0) }).await;
    assert_eq!((kept.holder, kept.fence, kept.version, kept.head), (Some(server), 1, 3, 2));
    for status in Status::ALL {
        let record = load(two, record.id).await;
        assert_eq!(commit(one, Commit { status, ..change(&record, 0) }).await.status, status);
    }
    let record = load(two, record.id).await;
    let released = commit(two, Commit { holder: Holder::Release, ..change(&record, 1) }).await;
    assert_eq!((released.holder, released.fence, released.head), (None, 1, 3));
    let taken = commit(one, Commit { holder: Holder::Take(server), ..change(&released, 0) }).await;
    assert_eq!((taken.holder, taken.fence), (Some(server), 2));
    one.delete(taken.id, None).await.unwrap();
}

pub(super) async fn refused_commits_change_nothing(one: &Handle, two: &Handle) {
    let record = session(one).await;
    let record =
        commit(one, Commit { holder: Holder::Take(Uuid::new_v4()), ..change(&record, 2) }).await;
    let refused = Commit {
        status: other(record.status),
        document: Bytes::from_static(b"lost"),
        holder: Holder::Release,
        idempotent: Some(idempotent("refused", "key")),
        ..change(&record, 2)
    };
    let wrong = [
        Commit { expect: 1, ..refused.clone() },
        Commit { expect: 3, ..refused.clone() },
        Commit { fence: Some(0), ..refused.clone() },
        Commit { fence: Some(2), ..refused.clone() },
        Commit { expect: 1, fence: Some(1), ..refused.clone() },
    ];
    for wrong in wrong {
        let text = format!("version {}, fence {:?}", wrong.expect, wrong.fence);
        assert_eq!(
            two.commit(wrong).await.unwrap(),
            CommitResult::Conflict(Some(Box::new(record.clone()))),
            "{text}"
        );
        assert_eq!(load(one, record.id).await, record, "{text}");
        assert_eq!(
            one.rows(record.id, 0, 10, usize::MAX, Part::Events).await.unwrap().len(),
            2,
            "{text}"
        );
    }
    assert_eq!(one.recall("refused", "key").await.unwrap(), None);
    assert_eq!(
        two.commit(Commit { id: Uuid::new_v4(), ..refused.clone() }).await.unwrap(),
        CommitResult::Conflict(None)
    );
    assert_eq!(one.recall("refused", "key").await.unwrap(), None);
    // The same change with the current version and fence.
    let record = commit(two, Commit { fence: Some(1), ..refused.clone() }).await;
    assert_eq!((record.version, record.head, record.token), (3, 4, refused.token));
    assert_eq!(one.recall("refused", "key").await.unwrap(), refused.idempotent);
    one.delete(record.id, None).await.unwrap();
}

pub(super) async fn is_read_in_pages(one: &Handle, two: &Handle) {
    let mut record = session(one).await;
    for size in [1, 0, 5, 3] {
        record = commit(one, change(&record, size)).await;
    }
    let id = record.id;
    let events = |range: core::ops::RangeInclusive<u64>| {
        range.map(|seq| Row { patch: None, ..row(seq) }).collect::<Vec<_>>()
    };
    let patches = |seqs: &[u64]| {
        seqs.iter().map(|seq| Row { event: Bytes::new(), ..row(*seq) }).collect::<Vec<_>>()
    };
    for store in [one, two] {
        let read = |after, limit, max_bytes, part| store.rows(id, after, limit, max_bytes, part);
        assert_eq!(read(0, 100, usize::MAX, Part::Events).await.unwrap(), events(1..=9));
        assert_eq!(read(0, 2, usize::MAX, Part::Events).await.unwrap(), events(1..=2));
        assert_eq!(read(5, 3, usize::MAX, Part::Events).await.unwrap(), events(6..=8));
        assert_eq!(read(8, 3, usize::MAX, Part::Events).await.unwrap(), events(9..=9));
        for beyond in [9, 10, u64::MAX] {
            assert_eq!(read(beyond, 3, usize::MAX, Part::Events).await.unwrap(), []);
        }
        // Each event has 9 bytes.
        assert_eq!(read(0, 100, 0, Part::Events).await.unwrap(), events(1..=1));
        assert_eq!(read(0, 100, 9, Part::Events).await.unwrap(), events(1..=1));
        assert_eq!(read(0, 100, 10, Part::Events).await.unwrap(), events(1..=2));
        assert_eq!(read(0, 100, usize::MAX, Part::Patches).await.unwrap(), patches(&[3, 6, 9]));
        assert_eq!(read(3, 1, usize::MAX, Part::Patches).await.unwrap(), patches(&[6]));
        assert_eq!(read(9, 1, usize::MAX, Part::Patches).await.unwrap(), []);
        assert_eq!(read(0, 100, 1, Part::Patches).await.unwrap(), patches(&[3]));
        assert_eq!(store.rows(Uuid::new_v4(), 0, 100, usize::MAX, Part::Events).await.unwrap(), []);
    }
    one.delete(id, None).await.unwrap();
}

pub(super) async fn can_be_long(one: &Handle, two: &Handle, rows: usize) {
    let mut record = session(one).await;
    let id = record.id;
    let last = rows as u64;
    while record.head < last {
        let some = usize::try_from(last - record.head).unwrap().min(97);
        assert_eq!(one.commit(change(&record, some)).await.unwrap(), CommitResult::Done);
        record.version += 1;
        record.head += some as u64;
    }
    assert_eq!((load(two, id).await.head, load(two, id).await.version), (last, record.version));
    let (mut after, mut read) = (0, 0);
    loop {
        let page = two.rows(id, after, 1_000, 1 << 20, Part::Events).await.unwrap();
        let Some(end) = page.last().map(|row| row.seq) else { break };
        for found in page {
            after += 1;
            assert_eq!(found, Row { patch: None, ..row(after) });
            read += 1;
        }
        assert_eq!(after, end);
    }
    assert_eq!(read, rows);
    let patches = one.rows(id, 0, rows, usize::MAX, Part::Patches).await.unwrap();
    assert_eq!(patches.len(), rows / 3);
    assert!(patches.iter().all(|patch| patch.seq.is_multiple_of(3)));
    assert_eq!(
        two.rows(id, last - 1, 10, usize::MAX, Part::Events).await.unwrap(),
        [Row { patch: None, ..row(last) }]
    );
    assert_eq!(one.delete(id, None).await.unwrap(), super::super::DeleteResult::Done);
}

pub(super) async fn answers_once_by_key(one: &Handle, two: &Handle) {
    let record = session(one).await;
    let scope = record.id.to_string();
    // Keys are the client's own text and may contain another key's scope.
    let keys = ["key", "'", "#key", "é|\\", &"k".repeat(255)];
    let mut record = record;
    for key in keys {
        assert_eq!(two.recall(&scope, key).await.unwrap(), None);
        let answer = idempotent(&scope, key);
        record =
            commit(one, Commit { idempotent: Some(answer.clone()), ..change(&record, 1) }).await;
        assert_eq!(two.recall(&scope, key).await.unwrap(), Some(answer.clone()));
        let again = IdempotencyRecord {
            fingerprint: Bytes::from_static(b"other"),
            answer: Bytes::from_static(b"never"),
            ..answer.clone()
        };
        let repeated = Commit { idempotent: Some(again.clone()), ..change(&record, 1) };
        assert_eq!(
            two.commit(repeated.clone()).await.unwrap(),
            CommitResult::Replay(answer.clone())
        );
        // The key takes precedence over the version, the fence and the session.
        let stale = Commit { expect: 1, fence: Some(77), ..repeated.clone() };
        assert_eq!(two.commit(stale).await.unwrap(), CommitResult::Replay(answer.clone()));
        assert_eq!(load(two, record.id).await, record);
        assert_eq!(one.recall("another scope", key).await.unwrap(), None);
    }
    one.delete(record.id, None).await.unwrap();
    let gone = Commit { idempotent: Some(idempotent(&scope, "key")), ..change(&record, 1) };
    assert_eq!(one.commit(gone).await.unwrap(), CommitResult::Replay(idempotent(&scope, "key")));

    let answer = idempotent("creations", "key");
    let new = NewSession { idempotent: Some(answer.clone()), ..new_session("creations") };
    assert_eq!(one.create(new.clone()).await.unwrap(), CreateResult::Done);
    assert_eq!(two.create(new.clone()).await.unwrap(), CreateResult::Replay(answer.clone()));
    assert_eq!(
        one.create(NewSession { limit: Some(0), ..new.clone() }).await.unwrap(),
        CreateResult::Replay(answer.clone())
    );
    let second = NewSession { id: Uuid::now_v7(), ..new.clone() };
    assert_eq!(two.create(second.clone()).await.unwrap(), CreateResult::Replay(answer.clone()));
    assert_eq!(one.load(second.id).await.unwrap(), None);
    // A refused creation does not use up its key.
    let refused = NewSession {
        idempotent: Some(idempotent("creations", "refused")),
        ..new_session("creations")
    };
    assert_eq!(
        one.create(NewSession { id: new.id, ..refused.clone() }).await.unwrap(),
        CreateResult::Exists
    );
    assert_eq!(
        two.create(NewSession { limit: Some(0), ..refused.clone() }).await.unwrap(),
        CreateResult::Full
    );
    assert_eq!(one.recall("creations", "refused").await.unwrap(), None);
    assert_eq!(two.create(refused.clone()).await.unwrap(), CreateResult::Done);
    for id in [new.id, refused.id] {
        one.delete(id, None).await.unwrap();
    }
    assert_eq!(
        two.create(new).await.unwrap(),
        CreateResult::Replay(answer),
        "a key outlives the session that it made"
    );
}
