//! The copies of events that the clients give their callers.

/// Generates `OwnedEvent::of_delta` from the rows of [`deltas`](crate::__deltas), in a module with
/// the types `OwnedEvent` and `Event`, and with a function for each way to read a value.
#[doc(hidden)]
#[macro_export]
macro_rules! __of_delta {
    ($($field:ident $kind:ident $delta:literal $value:literal $member:literal $growth:ident
        $event:ident $name:ident $read:ident;)+) => {
        impl OwnedEvent {
            /// Copies the event of a delta.
            fn of_delta(event: &Event<'_>) -> Option<Self> {
                match *event {
                    $(Event::$event { index, $name: piece } => {
                        Some(Self::$event { index, $name: $read(piece) })
                    })+
                    _ => None,
                }
            }
        }
    };
}
