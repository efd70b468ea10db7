//! The Ethernet controller of the LM3S6965 (data sheet, chapter "Ethernet Controller").

use super::{FRAME, read, words, write};

pub(super) const INTERRUPT: u16 = 42;

const BASE: u32 = 0x4004_8000;
const STATUS_AND_ACKNOWLEDGE: u32 = BASE;
const INTERRUPT_MASK: u32 = BASE + 0x04;
const RECEIVE_CONTROL: u32 = BASE + 0x08;
const TRANSMIT_CONTROL: u32 = BASE + 0x0c;
const DATA: u32 = BASE + 0x10;
const ADDRESS_LOW: u32 = BASE + 0x14;
const ADDRESS_HIGH: u32 = BASE + 0x18;
const FRAMES: u32 = BASE + 0x34;
const TRANSMIT_REQUEST: u32 = BASE + 0x38;

/// A frame has been received.
const RECEIVED: u32 = 1;
/// Enables reception, and drops frames with a wrong checksum.
const RECEIVE: u32 = 1 | 8;
/// Enables transmission, pads short frames, adds the checksum, and uses full duplex.
const TRANSMIT: u32 = 1 | 2 | 4 | 16;
/// The bytes of a frame's addresses and type, which the length before a frame does not count.
const HEADER: usize = 14;
/// The bytes that the controller counts besides the frame: the length field and the checksum.
const OVERHEAD: usize = 6;

pub(super) fn start(address: [u8; 6]) {
    let [a, b, c, d, e, f] = address;
    write(ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
    write(ADDRESS_HIGH, u32::from_le_bytes([e, f, 0, 0]));
    write(TRANSMIT_CONTROL, TRANSMIT);
    write(RECEIVE_CONTROL, RECEIVE);
    unmask();
}

pub(super) fn mask() {
    write(INTERRUPT_MASK, 0);
}

pub(super) fn unmask() {
    write(STATUS_AND_ACKNOWLEDGE, RECEIVED);
    write(INTERRUPT_MASK, RECEIVED);
}

pub(super) fn has_frame() -> bool {
    read(FRAMES) != 0
}

/// Reads a frame from the controller. Returns its length. The first word contains the length, which
/// counts itself, and the frame's first two bytes.
pub(super) fn receive(frame: &mut [u8; FRAME]) -> usize {
    let [low, high, first, second] = read(DATA).to_le_bytes();
    let counted = usize::from(u16::from_le_bytes([low, high]));
    frame[..2].copy_from_slice(&[first, second]);
    let mut at = 2;
    for _ in 1..counted.div_ceil(4) {
        let word = read(DATA).to_le_bytes();
        // The last one or two words are the checksum, and may exceed the longest frame.
        if let Some(place) = frame.get_mut(at..at + 4) {
            place.copy_from_slice(&word);
        } else if let Some(place) = frame.get_mut(at..at + 2) {
            place.copy_from_slice(&word[..2]);
        }
        at += 4;
    }
    counted.saturating_sub(OVERHEAD).min(FRAME)
}

pub(super) fn send(frame: &[u8]) {
    while read(TRANSMIT_REQUEST) & 1 != 0 {}
    let [low, high] =
        u16::try_from(frame.len().saturating_sub(HEADER)).unwrap_or_default().to_le_bytes();
    write(DATA, u32::from_le_bytes([low, high, frame[0], frame[1]]));
    for word in words(&frame[2..]) {
        write(DATA, word);
    }
    write(TRANSMIT_REQUEST, 1);
}
