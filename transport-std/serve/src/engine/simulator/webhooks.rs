//! Webhooks: their attempts, and the records that they arrived.

use super::*;

impl World {
    /// Delivers the waiting webhooks of the session, as its holder does.
    pub(super) fn deliver_all(&mut self, server: usize, record: &Record) {
        let life = self.servers[server].life;
        for delivery in Document::of(record).unwrap().deliveries {
            if self.servers[server].delivers.insert(delivery.id.clone()) {
                let wait = self.chance.below(50);
                self.after(wait, ScheduledAction::Attempt(server, life, Box::new(delivery), true));
            }
        }
    }

    /// Sends a webhook. A failed attempt is repeated while the server holds the session.
    pub(super) fn attempt(&mut self, server: usize, life: u64, delivery: Delivery, is_first: bool) {
        if !self.lives(server, life) {
            return;
        }
        let record = self.record();
        let mut waiting = Document::of(&record).unwrap().deliveries.into_iter();
        let still_delivers = record.holder == Some(self.servers[server].id)
            && waiting.any(|known| known.id == delivery.id);
        if !is_first && !still_delivers {
            self.servers[server].delivers.remove(&delivery.id);
            return;
        }
        if self.now < self.calm && self.chance.percent(50) {
            let wait = 1_000 + self.chance.below(4_000);
            return self
                .after(wait, ScheduledAction::Attempt(server, life, Box::new(delivery), false));
        }
        self.arrived.entry(delivery.head).or_default().push(delivery.id.clone());
        if self.now < self.calm && self.chance.percent(10) {
            // A crash between the attempt and its record.
            return self.crash(server);
        }
        self.forget(server, life, delivery.id);
    }

    /// Records that a webhook arrived, until the store shows it.
    pub(super) fn forget(&mut self, server: usize, life: u64, id: String) {
        if !self.lives(server, life) {
            return;
        }
        let record = self.record();
        let document = Document::of(&record).unwrap();
        let change = self.context(server, |context| delivered(&record, document, &id, context));
        let Change::Commit(commit) = change else {
            self.servers[server].delivers.remove(&id);
            return;
        };
        let (wait, fate) = (self.chance.below(40), self.fate());
        self.after(wait, ScheduledAction::Forget(server, life, id, commit, fate));
    }

    pub(super) fn forgotten(
        &mut self,
        server: usize,
        life: u64,
        id: String,
        commit: Commit,
        fate: Fate,
    ) {
        if fate != Fate::Lost {
            self.store_it(commit);
        }
        // Reads the record, whatever the store answered.
        self.forget(server, life, id);
    }

    fn lives(&self, server: usize, life: u64) -> bool {
        self.servers[server].is_up && self.servers[server].life == life
    }

    /// Checks that each webhook arrived under one id, and that nothing waits any more.
    pub(super) fn judge_webhooks(&self, record: &Record, events: &[Value]) -> Result<(), String> {
        let ends = events.iter().filter(|event| {
            event["type"] == "session.status_idle"
                && event["stop_reason"]["type"] != "requires_action"
                && self.hooked.contains(&event["turn"].as_u64().unwrap())
        });
        let ends: Vec<u64> = ends.map(|event| event["seq"].as_u64().unwrap()).collect();
        if !self.arrived.keys().eq(&ends) {
            return Err(format!(
                "webhooks arrived for {:?}, not for {ends:?}",
                self.arrived.keys()
            ));
        }
        if self.arrived.values().any(|ids| ids.iter().any(|id| *id != ids[0])) {
            return Err("a webhook arrived under two ids".to_owned());
        }
        if !Document::of(record).unwrap().deliveries.is_empty() {
            return Err("a webhook that arrived still waits".to_owned());
        }
        if record.status != Status::Running && record.holder.is_some() {
            return Err("a server holds the session for no reason".to_owned());
        }
        Ok(())
    }
}
