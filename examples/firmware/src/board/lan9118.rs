//! The LAN9118 Ethernet controller of the MPS2 boards (SMSC's data sheet, revision 1.5), on its
//! 32-bit bus.

use super::{FRAME, read, words, write};

pub(super) const INTERRUPT: u16 = 13;

#[cfg(feature = "mps2-an386")]
const BASE: u32 = 0x4020_0000;
#[cfg(feature = "mps2-an500")]
const BASE: u32 = 0xa000_0000;

const RECEIVE_DATA: u32 = BASE;
const TRANSMIT_DATA: u32 = BASE + 0x20;
const RECEIVE_STATUS: u32 = BASE + 0x40;
const TRANSMIT_STATUS: u32 = BASE + 0x48;
const INTERRUPT_CONFIG: u32 = BASE + 0x54;
const INTERRUPT_STATUS: u32 = BASE + 0x58;
const INTERRUPT_ENABLE: u32 = BASE + 0x5c;
const LEVELS: u32 = BASE + 0x68;
const TRANSMIT_CONFIG: u32 = BASE + 0x70;
const RECEIVE_LEVEL: u32 = BASE + 0x7c;
const TRANSMIT_LEVEL: u32 = BASE + 0x80;
const MAC_COMMAND: u32 = BASE + 0xa4;
const MAC_DATA: u32 = BASE + 0xa8;

/// Enables interrupts. The line is active high and push-pull.
const LINE: u32 = 1 << 8 | 1 << 4 | 1;
/// The FIFO of received frames' statuses holds more statuses than its level.
const RECEIVED: u32 = 1 << 3;
const TRANSMIT_ON: u32 = 1 << 1;
const BUSY: u32 = 1 << 31;
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
/// Enables reception, transmission and full duplex.
const MAC_ON: u32 = 1 << 2 | 1 << 3 | 1 << 20;
/// The buffer is the first and the last segment of a frame.
const WHOLE_FRAME: u32 = 1 << 13 | 1 << 12;
const CHECKSUM: usize = 4;

pub(super) fn start(address: [u8; 6]) {
    let [a, b, c, d, e, f] = address;
    set_mac(MAC_ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
    set_mac(MAC_ADDRESS_HIGH, u32::from_le_bytes([e, f, 0, 0]));
    write(TRANSMIT_CONFIG, TRANSMIT_ON);
    set_mac(MAC_CONTROL, MAC_ON);
    write(LEVELS, 0);
    write(INTERRUPT_CONFIG, LINE);
    unmask();
}

fn set_mac(register: u32, value: u32) {
    write(MAC_DATA, value);
    write(MAC_COMMAND, BUSY | register);
    while read(MAC_COMMAND) & BUSY != 0 {}
}

pub(super) fn mask() {
    write(INTERRUPT_ENABLE, 0);
}

pub(super) fn unmask() {
    write(INTERRUPT_STATUS, RECEIVED);
    write(INTERRUPT_ENABLE, RECEIVED);
}

pub(super) fn has_frame() -> bool {
    read(RECEIVE_LEVEL) >> 16 & 0xff != 0
}

/// Reads a frame from the controller. Returns its length without the checksum.
pub(super) fn receive(frame: &mut [u8; FRAME]) -> usize {
    let counted = (read(RECEIVE_STATUS) >> 16 & 0x3fff) as usize;
    let mut at = 0;
    for _ in 0..counted.div_ceil(4) {
        let word = read(RECEIVE_DATA).to_le_bytes();
        if let Some(place) = frame.get_mut(at..at + 4) {
            place.copy_from_slice(&word);
        }
        at += 4;
    }
    counted.saturating_sub(CHECKSUM).min(FRAME)
}

pub(super) fn send(frame: &[u8]) {
    // Discards the statuses of sent frames, which would fill their own queue.
    while read(TRANSMIT_LEVEL) >> 16 & 0xff != 0 {
        read(TRANSMIT_STATUS);
    }
    let len = frame.len() as u32;
    write(TRANSMIT_DATA, WHOLE_FRAME | len);
    write(TRANSMIT_DATA, len);
    for word in words(frame) {
        write(TRANSMIT_DATA, word);
    }
}
