//! The boards: their clock rates, and their Ethernet controllers as drivers for embassy-net.

#[cfg(feature = "alarm")]
pub mod alarm;
#[cfg(any(feature = "mps2-an386", feature = "mps2-an500"))]
mod lan9118;
#[cfg(feature = "lm3s6965evb")]
mod stellaris;

use core::task::Context;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;

#[cfg(any(feature = "mps2-an386", feature = "mps2-an500"))]
use lan9118 as controller;
#[cfg(feature = "lm3s6965evb")]
use stellaris as controller;

/// Processor cycles per second.
#[cfg(feature = "lm3s6965evb")]
pub const CLOCK_HZ: u32 = 12_500_000;
/// Processor cycles per second.
#[cfg(any(feature = "mps2-an386", feature = "mps2-an500"))]
pub const CLOCK_HZ: u32 = 25_000_000;

/// The length of the longest Ethernet frame in bytes, rounded up to whole words.
const FRAME: usize = 1516;
const MTU: usize = 1514;
/// A locally administered address, which anybody may assign to a device.
const ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

static WAKER: AtomicWaker = AtomicWaker::new();

#[derive(Clone, Copy)]
struct Line;

// SAFETY: the number is the controller's interrupt line on the selected board, and it never
// changes.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        controller::INTERRUPT
    }
}

/// The Ethernet controller, with a buffer for one frame in each direction.
pub struct Ethernet {
    received: &'static mut [u8; FRAME],
    sending: &'static mut [u8; FRAME],
}

impl Ethernet {
    /// Starts the controller. Must be called only once.
    pub fn start() -> Self {
        static RECEIVED: ConstStaticCell<[u8; FRAME]> = ConstStaticCell::new([0; FRAME]);
        static SENDING: ConstStaticCell<[u8; FRAME]> = ConstStaticCell::new([0; FRAME]);
        controller::start(ADDRESS);
        // SAFETY: the handler for all interrupts is below; it accesses only the controller's mask
        // and the waker.
        unsafe { NVIC::unmask(Line) };
        Self { received: RECEIVED.take(), sending: SENDING.take() }
    }
}

/// Handles every interrupt except SysTick: the controller's, and the alarm's if the board has one.
#[cortex_m_rt::exception]
unsafe fn DefaultHandler(_interrupt: i16) {
    #[cfg(feature = "alarm")]
    if alarm::handles(_interrupt) {
        return;
    }
    controller::mask();
    WAKER.wake();
}

/// A received frame.
pub struct ReceivedFrame<'a>(&'a mut [u8]);
/// A token that permits sending one frame.
pub struct SendToken<'a>(&'a mut [u8; FRAME]);

impl Driver for Ethernet {
    type RxToken<'a> = ReceivedFrame<'a>;
    type TxToken<'a> = SendToken<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(ReceivedFrame<'_>, SendToken<'_>)> {
        if !controller::has_frame() {
            WAKER.register(context.waker());
            controller::unmask();
            // A frame may have arrived before the interrupt was enabled again.
            if !controller::has_frame() {
                return None;
            }
        }
        let len = controller::receive(self.received);
        Some((ReceivedFrame(&mut self.received[..len]), SendToken(self.sending)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<SendToken<'_>> {
        Some(SendToken(self.sending))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(ADDRESS)
    }
}

impl RxToken for ReceivedFrame<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for SendToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let result = f(&mut self.0[..len]);
        controller::send(&self.0[..len]);
        result
    }
}

/// Reads a register of the controller.
fn read(address: u32) -> u32 {
    // SAFETY: only called with addresses of the board's registers, which may be read at any time.
    unsafe { (address as *const u32).read_volatile() }
}

/// Writes a register of the controller.
fn write(address: u32, value: u32) {
    // SAFETY: only called with addresses of the controller's registers. The controller has no DMA,
    // so no write touches memory.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// Returns a frame's words. The last word is padded with zeros.
fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(word)
    })
}
