//! The RISC-V machine "virt" of QEMU: its virtio network card as a driver for embassy-net.

use core::cell::RefCell;
use core::ptr::NonNull;
use core::task::Context;

use critical_section::Mutex;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Ticks of the machine timer per second.
pub const CLOCK_HZ: u32 = 10_000_000;

const MTU: usize = 1514;
/// The length of a frame with virtio's header before it.
const BUFFER: usize = 1536;
/// The number of frames that the card can receive before they are read.
const FRAMES: usize = 8;

/// The card's registers are in one of eight places.
const FIRST: usize = 0x1000_1000;
const SIZE: usize = 0x1000;
const PLACES: usize = 8;

static WAKER: AtomicWaker = AtomicWaker::new();

/// Lets the driver look for frames.
pub(crate) fn wake() {
    WAKER.wake();
}

#[repr(align(4096))]
struct Pages([u8; PAGES * PAGE_SIZE]);
const PAGES: usize = 8;
static MEMORY: ConstStaticCell<Pages> = ConstStaticCell::new(Pages([0; PAGES * PAGE_SIZE]));
/// The rest of [`MEMORY`].
static FREE: Mutex<RefCell<Option<&'static mut [u8]>>> = Mutex::new(RefCell::new(None));

/// The machine has no address translation, and its memory is coherent.
struct Machine;

// SAFETY: each piece of memory is given out once, is aligned to a page and zeroed, and its address
// is the same for the card as for the processor.
unsafe impl Hal for Machine {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let piece = critical_section::with(|cs| {
            let mut free = FREE.borrow_ref_mut(cs);
            let (piece, rest) = free.take()?.split_at_mut_checked(pages * PAGE_SIZE)?;
            *free = Some(rest);
            Some(NonNull::from(piece).cast())
        });
        let Some(piece) = piece else { panic!("the card wants more than {PAGES} pages") };
        (piece.as_ptr() as usize as PhysAddr, piece)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0 // the driver lives for ever
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(address as usize as *mut u8).expect("the registers are not at 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as usize as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

type Card = VirtIONetRaw<Machine, MmioTransport<'static>, FRAMES>;

/// The card, with buffers for the frames that it receives.
pub struct Ethernet {
    card: Card,
    /// The buffers, each with the token of its place in the card's queue.
    queue: &'static mut [([u8; BUFFER], u16); FRAMES],
    received: &'static mut [u8; BUFFER],
    sending: &'static mut [u8; MTU],
}

impl Ethernet {
    /// Starts the card. Must be called only once.
    pub fn start() -> Self {
        static QUEUE: ConstStaticCell<[([u8; BUFFER], u16); FRAMES]> =
            ConstStaticCell::new([([0; BUFFER], 0); FRAMES]);
        static RECEIVED: ConstStaticCell<[u8; BUFFER]> = ConstStaticCell::new([0; BUFFER]);
        static SENDING: ConstStaticCell<[u8; MTU]> = ConstStaticCell::new([0; MTU]);
        critical_section::with(|cs| FREE.borrow_ref_mut(cs).replace(&mut MEMORY.take().0));
        let Some(mut card) = (0..PLACES).find_map(card) else { panic!("there is no network card") };
        let queue = QUEUE.take();
        for (buffer, token) in queue.iter_mut() {
            // SAFETY: the buffer is static, and is not used before the card returns its token.
            *token = unsafe { card.receive_begin(buffer) }.expect("a free place in the queue");
        }
        Self { card, queue, received: RECEIVED.take(), sending: SENDING.take() }
    }

    /// Copies the next frame from the card. Returns where it is in `received`.
    fn next(&mut self) -> Option<core::ops::Range<usize>> {
        let token = self.card.poll_receive()?;
        let (buffer, place) = self.queue.iter_mut().find(|(_, place)| *place == token)?;
        // SAFETY: this is the buffer that the token was returned for.
        let (head, len) = unsafe { self.card.receive_complete(token, buffer) }.ok()?;
        self.received.copy_from_slice(buffer);
        // SAFETY: as in `start`.
        *place = unsafe { self.card.receive_begin(buffer) }.ok()?;
        Some(head..head + len)
    }
}

fn card(place: usize) -> Option<Card> {
    let header = NonNull::new((FIRST + place * SIZE) as *mut VirtIOHeader)?;
    // SAFETY: the machine has the registers of a virtio device, or of none, in each place. Nobody
    // else uses them.
    let transport = unsafe { MmioTransport::new(header, SIZE) }.ok()?;
    if transport.device_type() == DeviceType::Network { Card::new(transport).ok() } else { None }
}

/// A received frame.
pub struct ReceivedFrame<'a>(&'a mut [u8]);
/// A token that permits sending one frame.
pub struct SendToken<'a>(&'a mut Card, &'a mut [u8; MTU]);

impl Driver for Ethernet {
    type RxToken<'a> = ReceivedFrame<'a>;
    type TxToken<'a> = SendToken<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(ReceivedFrame<'_>, SendToken<'_>)> {
        WAKER.register(context.waker());
        let frame = self.next()?;
        Some((ReceivedFrame(&mut self.received[frame]), SendToken(&mut self.card, self.sending)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<SendToken<'_>> {
        Some(SendToken(&mut self.card, self.sending))
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
        HardwareAddress::Ethernet(self.card.mac_address())
    }
}

impl RxToken for ReceivedFrame<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for SendToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let frame = &mut self.1[..len];
        let result = f(frame);
        // Waits until the card has taken the frame. A frame that it refuses is lost, as on a wire.
        let _ = self.0.send(frame);
        result
    }
}
