//! Creating, finding and removing sessions.

use super::*;
use crate::store::{DeleteResult, Part};

pub(super) async fn are_counted_and_limited(one: &Handle, two: &Handle) {
    assert_eq!(one.count().await.unwrap(), 0, "the store is empty");
    let new = |limit| NewSession { limit, ..new_session("counted") };
    let first = new(Some(2));
    assert_eq!(one.create(first.clone()).await.unwrap(), CreateResult::Done);
    assert_eq!(two.create(new(Some(2))).await.unwrap(), CreateResult::Done);
    assert_eq!(one.create(new(Some(2))).await.unwrap(), CreateResult::Full);
    // `Exists` takes precedence over `Full`. Each creation may have its own limit.
    assert_eq!(one.create(first.clone()).await.unwrap(), CreateResult::Exists);
    assert_eq!(
        two.create(NewSession { owner: "another".into(), ..new(Some(1)) }).await.unwrap(),
        CreateResult::Full
    );
    assert_eq!(one.count().await.unwrap(), 2);
    assert_eq!(two.delete(first.id, None).await.unwrap(), DeleteResult::Done);
    assert_eq!(one.count().await.unwrap(), 1);
    assert_eq!(one.create(new(Some(2))).await.unwrap(), CreateResult::Done);
    assert_eq!(one.create(new(None)).await.unwrap(), CreateResult::Done);
    for session in list(one, query("counted")).await {
        one.delete(session.id, None).await.unwrap();
    }
    assert_eq!(two.count().await.unwrap(), 0);
}

pub(super) async fn expire(one: &Handle, two: &Handle, crowd: usize) {
    let new = |expires: Option<u64>| NewSession {
        expires: expires.map(Timestamp),
        ..new_session("expiring")
    };
    let (early, late, never) = (new(Some(5_000)), new(Some(9_000)), new(None));
    let (early, late, never) = (early.id, late.id, {
        for session in [&early, &late, &never] {
            assert_eq!(one.create(session.clone()).await.unwrap(), CreateResult::Done);
        }
        never.id
    });
    assert_eq!(one.sweep(Timestamp(4_999)).await.unwrap(), Vec::<Uuid>::new());
    assert_eq!(two.sweep(Timestamp(5_000)).await.unwrap(), [early]);
    assert_eq!(one.load(early).await.unwrap(), None);
    assert_eq!(one.sweep(Timestamp(5_000)).await.unwrap(), Vec::<Uuid>::new(), "it is swept once");
    // A commit moves or removes the expiry.
    let record = load(one, late).await;
    assert_eq!(record.expires, Some(Timestamp(9_000)));
    let record = commit(one, Commit { expires: None, ..change(&record, 1) }).await;
    assert_eq!(record.expires, None);
    assert_eq!(two.sweep(Timestamp(1_000_000)).await.unwrap(), Vec::<Uuid>::new());
    let record =
        commit(one, Commit { expires: Some(Timestamp(20_000)), ..change(&record, 1) }).await;
    let record =
        commit(two, Commit { expires: Some(Timestamp(30_000)), ..change(&record, 1) }).await;
    assert_eq!(record.expires, Some(Timestamp(30_000)));
    assert_eq!(two.sweep(Timestamp(29_999)).await.unwrap(), Vec::<Uuid>::new());
    assert_eq!(one.sweep(Timestamp(30_000)).await.unwrap(), [late]);
    assert_eq!(one.rows(late, 0, 10, usize::MAX, Part::Events).await.unwrap(), []);
    assert_eq!(load(one, never).await.id, never);

    // Answers expire too, but independently of their session.
    let short = IdempotencyRecord { expires: Timestamp(40_000), ..idempotent("expiring", "short") };
    let record = load(one, never).await;
    commit(one, Commit { idempotent: Some(short.clone()), ..change(&record, 0) }).await;
    assert_eq!(two.delete(never, None).await.unwrap(), DeleteResult::Done);
    one.sweep(Timestamp(39_999)).await.unwrap();
    assert_eq!(two.recall("expiring", "short").await.unwrap(), Some(short));
    one.sweep(Timestamp(40_000)).await.unwrap();
    assert_eq!(two.recall("expiring", "short").await.unwrap(), None);

    // More sessions than fit into one transaction or request.
    let many: Vec<_> = (0..crowd).map(|_| new(Some(50_000))).collect();
    for session in &many {
        assert_eq!(one.create(session.clone()).await.unwrap(), CreateResult::Done);
    }
    let mut swept = Vec::new();
    while swept.len() < many.len() {
        let some = two.sweep(Timestamp(50_000)).await.unwrap();
        assert!(!some.is_empty(), "{} of {} are left", many.len() - swept.len(), many.len());
        swept.extend(some);
    }
    swept.sort_unstable();
    let mut ids: Vec<_> = many.iter().map(|session| session.id).collect();
    ids.sort_unstable();
    assert_eq!(swept, ids);
    assert_eq!(one.count().await.unwrap(), 0);
}

/// Text that could trip up stores, their languages and their formats.
const AWKWARD: [&str; 8] = ["", "'", "\"", "\\u0000", "\0", "$.a[0]", "ü€😀\u{feff}", "a\nb\t%_"];

pub(super) async fn are_loaded_as_created(one: &Handle, two: &Handle) {
    let metadata: BTreeMap<String, String> =
        AWKWARD.iter().zip(AWKWARD.iter().rev()).map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let every_byte: Bytes = (0..=u8::MAX).collect();
    let new = NewSession {
        metadata: metadata.clone(),
        now: Timestamp(1_796_000_123_456),
        messages: 3,
        document: every_byte.clone(),
        base: Some(every_byte.clone()),
        ..new_session("it's \"me\" \\ ü")
    };
    let id = new.id;
    assert_eq!(two.load(id).await.unwrap(), None);
    assert_eq!(two.base(id).await.unwrap(), None);
    assert_eq!(one.create(new.clone()).await.unwrap(), CreateResult::Done);
    let expected = Record {
        id,
        owner: new.owner.clone(),
        metadata,
        created: new.now,
        updated: new.now,
        expires: None,
        version: 1,
        head: 0,
        status: Status::Idle,
        messages: 3,
        holder: None,
        fence: 0,
        token: Uuid::nil(),
        document: every_byte.clone(),
    };
    assert_eq!(load(two, id).await, expected);
    assert_eq!(two.base(id).await.unwrap(), Some(every_byte));
    assert_eq!(two.versions(&[Uuid::new_v4(), id, id]).await.unwrap(), [None, Some(1), Some(1)]);
    assert_eq!(two.versions(&[]).await.unwrap(), []);
    let empty = NewSession { id, document: Bytes::new(), ..new_session("someone else") };
    assert_eq!(two.create(empty).await.unwrap(), CreateResult::Exists);
    assert_eq!(load(one, id).await, expected);

    // `None` differs from empty.
    let empty = NewSession { document: Bytes::new(), base: Some(Bytes::new()), ..new_session("") };
    assert_eq!(one.create(empty.clone()).await.unwrap(), CreateResult::Done);
    assert_eq!(load(two, empty.id).await.document, "");
    assert_eq!(two.base(empty.id).await.unwrap(), Some(Bytes::new()));
    let without = session(one).await;
    assert_eq!(two.base(without.id).await.unwrap(), None);
    for id in [id, empty.id, without.id] {
        assert_eq!(one.delete(id, None).await.unwrap(), DeleteResult::Done);
    }
}

pub(super) async fn are_listed_in_order(one: &Handle, two: &Handle) {
    let owner = "listed";
    let mut ids = Vec::new();
    // All in one millisecond and with random ids, so that the order of ids is not that of creation.
    for number in 0..7 {
        let colour = if number % 2 == 0 { "red" } else { "blue" };
        let metadata = [("colour", colour), ("'number\"", &number.to_string())];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let new = NewSession { id: Uuid::new_v4(), metadata, ..new_session(owner) };
        assert_eq!(one.create(new.clone()).await.unwrap(), CreateResult::Done);
        one.create(new_session("another owner")).await.unwrap();
        ids.push(new.id);
    }
    let found = |page: Vec<Summary>| page.into_iter().map(|session| session.id).collect::<Vec<_>>();
    let all = one.list(query(owner)).await.unwrap();
    assert_eq!((found(all.sessions), all.next), (ids.clone(), None));
    assert_eq!(found(list(two, query(owner)).await), ids);

    // Pages. A page that ends with the last session has no next page.
    let page = |after: Option<String>, limit| two.list(Query { after, limit, ..query(owner) });
    let (mut paged, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = page(after, 3).await.unwrap();
        sizes.push(page.sessions.len());
        paged.extend(found(page.sessions));
        after = page.next;
        let Some(place) = &after else { break };
        assert!(
            place.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
            "{place:?} fits into a link"
        );
    }
    assert_eq!((paged, sizes), (ids.clone(), vec![3, 3, 1]));
    let whole = page(None, 7).await.unwrap();
    assert_eq!((whole.sessions.len(), whole.next), (7, None));

    // Filters, also across pages.
    let red = [("colour".to_owned(), "red".to_owned())];
    let reds: Vec<_> = ids.iter().copied().step_by(2).collect();
    assert_eq!(
        found(list(two, Query { metadata: red.clone().into(), ..query(owner) }).await),
        reds
    );
    let some =
        two.list(Query { metadata: red.clone().into(), limit: 2, ..query(owner) }).await.unwrap();
    assert_eq!(found(some.sessions), reds[..2]);
    let rest = two
        .list(Query { metadata: red.clone().into(), limit: 2, after: some.next, ..query(owner) })
        .await
        .unwrap();
    assert_eq!((found(rest.sessions), rest.next), (reds[2..].to_vec(), None));
    let both = red.into_iter().chain([("'number\"".to_owned(), "2".to_owned())]).collect();
    assert_eq!(found(list(two, Query { metadata: both, ..query(owner) }).await), [ids[2]]);
    let none = [("colour".to_owned(), "re".to_owned())].into();
    assert_eq!(list(two, Query { metadata: none, ..query(owner) }).await, []);
    let record = load(one, ids[4]).await;
    let changed =
        commit(one, Commit { status: Status::Interrupted, messages: 9, ..change(&record, 1) })
            .await;
    let interrupted = list(two, Query { status: Some(Status::Interrupted), ..query(owner) }).await;
    let expected = Summary {
        id: ids[4],
        metadata: changed.metadata,
        created: changed.created,
        updated: changed.updated,
        status: Status::Interrupted,
        messages: 9,
    };
    assert_eq!(interrupted, [expected]);
    assert_eq!(list(two, Query { status: Some(Status::Idle), ..query(owner) }).await.len(), 6);
    assert_eq!(found(list(two, query(owner)).await), ids, "a change does not move a session");

    // A position stays valid when its session is deleted.
    let first = page(None, 3).await.unwrap();
    for id in [ids[2], ids[3]] {
        assert_eq!(one.delete(id, None).await.unwrap(), DeleteResult::Done);
    }
    let new = new_session(owner);
    assert_eq!(one.create(new.clone()).await.unwrap(), CreateResult::Done);
    assert_eq!(
        found(page(first.next, 9).await.unwrap().sessions),
        [ids[4], ids[5], ids[6], new.id]
    );
    assert_eq!(list(one, query("nobody")).await, []);
    for session in [list(one, query(owner)).await, list(one, query("another owner")).await].concat()
    {
        one.delete(session.id, None).await.unwrap();
    }
}

pub(super) async fn are_deleted_whole(one: &Handle, two: &Handle) {
    let base = Some(Bytes::from_static(b"base"));
    let new = NewSession { base, ..new_session("deleted") };
    let id = new.id;
    assert_eq!(one.create(new.clone()).await.unwrap(), CreateResult::Done);
    let record = load(one, id).await;
    let record = commit(
        one,
        Commit {
            status: Status::Running,
            idempotent: Some(idempotent("deleted", "kept")),
            ..change(&record, 3)
        },
    )
    .await;
    assert_eq!(two.delete(id, Some(1)).await.unwrap(), DeleteResult::Conflict);
    assert_eq!(load(one, id).await, record);
    assert_eq!(two.delete(id, Some(2)).await.unwrap(), DeleteResult::Done);
    assert_eq!(one.delete(id, Some(2)).await.unwrap(), DeleteResult::Missing);
    assert_eq!(one.delete(id, None).await.unwrap(), DeleteResult::Missing);
    assert_eq!(one.load(id).await.unwrap(), None);
    assert_eq!(one.base(id).await.unwrap(), None);
    assert_eq!(one.rows(id, 0, 10, usize::MAX, Part::Events).await.unwrap(), []);
    assert_eq!(one.versions(&[id]).await.unwrap(), [None]);
    assert_eq!(one.commit(change(&record, 1)).await.unwrap(), CommitResult::Conflict(None));
    assert_eq!(list(one, query("deleted")).await, []);
    assert!(!one.orphans(Timestamp(u64::from(u32::MAX)), 1_000).await.unwrap().contains(&id));
    assert!(two.recall("deleted", "kept").await.unwrap().is_some(), "a key outlives its session");

    // A client that chooses ids can reuse one.
    assert_eq!(two.create(NewSession { base: None, ..new }).await.unwrap(), CreateResult::Done);
    assert_eq!(one.base(id).await.unwrap(), None);
    let record = load(one, id).await;
    assert_eq!((record.version, record.head, record.status, record.fence), (1, 0, Status::Idle, 0));
    assert_eq!(one.rows(id, 0, 10, usize::MAX, Part::Events).await.unwrap(), []);
    let record = commit(one, change(&record, 1)).await;
    assert_eq!(
        two.rows(id, 0, 10, usize::MAX, Part::Events).await.unwrap(),
        [Row { patch: None, ..row(1) }]
    );
    assert_eq!(two.delete(id, Some(record.version)).await.unwrap(), DeleteResult::Done);
}

/// Returns bytes that do not compress and depend on `seed`.
pub(super) fn noise(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; size.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

pub(super) async fn can_be_large(one: &Handle, two: &Handle, largest: usize) {
    const MIB: usize = 1 << 20;
    let base = noise(1, 8 * MIB);
    let new =
        NewSession { document: noise(2, MIB), base: Some(base.clone()), ..new_session("large") };
    let id = new.id;
    assert_eq!(one.create(new).await.unwrap(), CreateResult::Done);
    assert_eq!(two.base(id).await.unwrap(), Some(base));
    let mut record = load(two, id).await;
    assert_eq!(record.document, noise(2, MIB));
    // The document grows, shrinks and vanishes; large rows alternate with small ones.
    let mut rows = Vec::new();
    for (seed, size, row_size) in [
        (3, 3 * MIB, MIB),
        (4, 10, 1),
        (5, MIB + 1, largest),
        (6, 400 * 1024, 400 * 1024),
        (7, 0, 100),
    ] {
        let first = record.head + 1;
        let large = Row {
            seq: first,
            event: noise(seed, row_size),
            patch: Some(noise(seed + 100, row_size)),
        };
        let added = vec![large, row(first + 1), row(first + 2)];
        rows.extend(added.clone());
        let next = Commit { document: noise(seed, size), rows: added, ..change(&record, 0) };
        record = commit(if seed % 2 == 0 { one } else { two }, next).await;
        assert_eq!(record.document, noise(seed, size), "{size} bytes");
    }
    let events = one.rows(id, 0, 100, usize::MAX, Part::Events).await.unwrap();
    let expected: Vec<_> = rows.iter().map(|row| Row { patch: None, ..row.clone() }).collect();
    assert!(
        events == expected,
        "events of {:?} bytes",
        events.iter().map(|row| row.event.len()).collect::<Vec<_>>()
    );
    let patches = two.rows(id, 0, 100, usize::MAX, Part::Patches).await.unwrap();
    let expected: Vec<_> = rows
        .into_iter()
        .filter(|row| row.patch.is_some())
        .map(|row| Row { event: Bytes::new(), ..row })
        .collect();
    assert!(
        patches == expected,
        "patches of {:?} bytes",
        patches.iter().map(|row| row.patch.as_ref().map(Bytes::len)).collect::<Vec<_>>()
    );
    assert_eq!(one.delete(id, None).await.unwrap(), DeleteResult::Done);
    assert_eq!(two.base(id).await.unwrap(), None);
}
