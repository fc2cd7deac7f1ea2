//! bpf(2): maps, programs, and what a program makes of a frame.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::io::Errno;

// Commands of bpf(2), `include/uapi/linux/bpf.h`.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const MAP_NEXT_KEY: libc::c_int = 4;
const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_TEST: libc::c_int = 10;
const PROGRAM_BY_ID: libc::c_int = 13;
const MAP_BY_ID: libc::c_int = 14;
const INFORMATION: libc::c_int = 15;
const HASH: u32 = 1;
/// `BPF_MAP_TYPE_PERCPU_ARRAY`
const PERCPU_ARRAY: u32 = 6;
/// `BPF_F_NO_PREALLOC`: entries take memory when they are made.
const ON_DEMAND: u32 = 1;
/// More than any host has ports or addresses.
const MOST_ENTRIES: u32 = 1 << 16;
/// `BPF_PROG_TYPE_SCHED_CLS`
const CLASSIFIER: u32 = 3;
/// The length of `union bpf_attr` that is used here.
const ATTRIBUTES: usize = 144;
/// The length of `struct __sk_buff`.
const CONTEXT: usize = 192;
/// Where in it the interface's index is.
const INTERFACE: usize = 40;
// Where things are in `struct bpf_prog_info` and `struct bpf_map_info`, both of which begin with kind and identifier.
const IDENTIFIER: usize = 4;
const KEY_LENGTH: usize = 8;
const VALUE_LENGTH: usize = 12;
const MAP_COUNT: usize = 52;
const MAP_IDENTIFIERS: usize = 56;
/// How much of either is asked for.
const INFORMATION_LENGTH: usize = 64;

/// The only key of a [`Map::counter`].
const COUNTER_KEY: [u8; 4] = [0; 4];

/// A map in the kernel, with keys and values of fixed lengths.
#[derive(Debug)]
pub(super) struct Map {
    file: OwnedFd,
    key: usize,
    value: usize,
    /// What the kernel calls it.
    pub(super) id: u32,
}

/// A program that the kernel has verified.
#[derive(Debug)]
pub(super) struct Program {
    file: OwnedFd,
    /// What the kernel calls it.
    pub(super) id: u32,
}

/// The arguments of a command, octet by octet.
struct Attributes {
    octets: Vec<u8>,
}

impl Attributes {
    fn new() -> Self {
        Self { octets: Vec::with_capacity(ATTRIBUTES) }
    }

    fn number(mut self, number: u32) -> Self {
        self.octets.extend(number.to_ne_bytes());
        self
    }

    /// The address of what must outlive the call.
    fn address<T>(mut self, of: *const T) -> Self {
        self.octets.resize(self.octets.len().next_multiple_of(8), 0);
        self.octets.extend((of as u64).to_ne_bytes());
        self
    }

    /// # Safety
    /// Every address must be that of as many octets as the command reads or writes there.
    #[expect(unsafe_code, reason = "no crate has bpf(2) without a compiler for its programs")]
    unsafe fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_int> {
        self.octets.resize(ATTRIBUTES, 0);
        // SAFETY: the arguments are as long as is told; the caller answers for the addresses among them.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.octets.as_mut_ptr(), ATTRIBUTES) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(i32::try_from(result).expect("a descriptor or zero"))
        }
    }

    /// # Safety
    /// As [`Attributes::call`]; the command must be one that returns a new descriptor.
    #[expect(unsafe_code, reason = "see above")]
    unsafe fn open(&mut self, command: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: the caller promises both.
        unsafe { Ok(OwnedFd::from_raw_fd(self.call(command)?)) }
    }
}

fn descriptor(file: &OwnedFd) -> u32 {
    file.as_raw_fd().try_into().expect("descriptors are not negative")
}

fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).expect("far less")
}

/// What is none is no failure.
fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        result => result.map(Some),
    }
}

/// No fewer than the processors that the kernel has a number for: what is not known of the file is made up for
/// generously.
fn possible_processors() -> usize {
    const MANY: usize = 8192;
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|number| number.parse::<usize>().ok());
    last.map_or(MANY, |last| last + 1)
}

fn word(octets: &[u8], at: usize) -> u32 {
    octets.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// What the kernel says of a program or a map. With room for them, it fills in identifiers of a program's maps.
fn information(file: &OwnedFd, maps: &mut [u32]) -> io::Result<[u8; INFORMATION_LENGTH]> {
    let mut told = [0_u8; INFORMATION_LENGTH];
    if !maps.is_empty() {
        told[MAP_COUNT..MAP_COUNT + 4].copy_from_slice(&u32::try_from(maps.len()).expect("few").to_ne_bytes());
        told[MAP_IDENTIFIERS..].copy_from_slice(&(maps.as_mut_ptr() as u64).to_ne_bytes());
    }
    let mut attributes = Attributes::new().number(descriptor(file)).number(length(&told)).address(told.as_mut_ptr());
    // SAFETY: as much is written to `told` as is told, and as many numbers to `maps`; both are borrowed until after the
    // call.
    #[expect(unsafe_code, reason = "see `Attributes::call`")]
    unsafe { attributes.call(INFORMATION) }.map(|_| told)
}

impl Map {
    /// The [shape](Map::shape) of a [`Map::counter`].
    pub(super) const COUNTER_SHAPE: (usize, usize) = (COUNTER_KEY.len(), 8);

    /// A map of keys and values of these lengths in octets.
    pub(super) fn new(key: usize, value: usize) -> io::Result<Self> {
        Self::make(HASH, (key, value), MOST_ENTRIES, ON_DEMAND)
    }

    /// A number for each processor, all of them zero.
    pub(super) fn counter() -> io::Result<Self> {
        Self::make(PERCPU_ARRAY, Self::COUNTER_SHAPE, 1, 0)
    }

    fn make(kind: u32, (key, value): (usize, usize), most: u32, flags: u32) -> io::Result<Self> {
        let number = |length: usize| u32::try_from(length).expect("short");
        let attributes = Attributes::new().number(kind).number(number(key)).number(number(value));
        let mut attributes = attributes.number(most).number(flags);
        // SAFETY: there is no address; the command returns a descriptor.
        #[expect(unsafe_code, reason = "see `Attributes::open`")]
        let file = unsafe { attributes.open(MAP_CREATE)? };
        let id = word(&information(&file, &mut [])?, IDENTIFIER);
        Ok(Self { file, key, value, id })
    }

    /// The map with this identifier.
    pub(super) fn with_id(id: u32) -> io::Result<Self> {
        // SAFETY: there is no address; the command returns a descriptor.
        #[expect(unsafe_code, reason = "see `Attributes::open`")]
        let file = unsafe { Attributes::new().number(id).open(MAP_BY_ID)? };
        let told = information(&file, &mut [])?;
        let length = |at| usize::try_from(word(&told, at)).expect("short");
        Ok(Self { key: length(KEY_LENGTH), value: length(VALUE_LENGTH), file, id })
    }

    /// How long its keys and values are.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.key, self.value)
    }

    /// By which a program that is being made names it.
    pub(super) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Sets a key's value.
    pub(super) fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!((key.len(), value.len()), self.shape(), "they are made for this map");
        let mut attributes =
            Attributes::new().number(descriptor(&self.file)).address(key.as_ptr()).address(value.as_ptr());
        // SAFETY: both are borrowed until after the call, and as long as the map was made for.
        #[expect(unsafe_code, reason = "see `Attributes::call`")]
        unsafe { attributes.call(MAP_UPDATE) }.map(drop)
    }

    /// A key's value.
    pub(super) fn value(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        assert_eq!(key.len(), self.key, "it is made for this map");
        let mut value = vec![0; self.value];
        let mut attributes =
            Attributes::new().number(descriptor(&self.file)).address(key.as_ptr()).address(value.as_mut_ptr());
        // SAFETY: both are borrowed until after the call, and as long as the map was made for.
        #[expect(unsafe_code, reason = "see `Attributes::call`")]
        let found = unless_missing(unsafe { attributes.call(MAP_LOOKUP) })?;
        Ok(found.map(|_| value))
    }

    /// The sum of the numbers of a [`Map::counter`].
    pub(super) fn sum(&self) -> io::Result<u64> {
        let mut numbers = vec![0_u64; possible_processors()];
        let mut attributes = Attributes::new()
            .number(descriptor(&self.file))
            .address(COUNTER_KEY.as_ptr())
            .address(numbers.as_mut_ptr());
        // SAFETY: key and numbers are borrowed until after the call; the kernel writes one for each processor that is
        // possible.
        #[expect(unsafe_code, reason = "see `Attributes::call`")]
        unsafe {
            attributes.call(MAP_LOOKUP)?
        };
        Ok(numbers.iter().fold(0, |sum, number| sum.wrapping_add(*number)))
    }

    /// Removes a key, if it is there.
    pub(super) fn remove(&self, key: &[u8]) -> io::Result<()> {
        assert_eq!(key.len(), self.key, "it is made for this map");
        let mut attributes = Attributes::new().number(descriptor(&self.file)).address(key.as_ptr());
        // SAFETY: the key is borrowed until after the call, and as long as the map was made for.
        #[expect(unsafe_code, reason = "see `Attributes::call`")]
        unless_missing(unsafe { attributes.call(MAP_DELETE) }).map(drop)
    }

    /// All keys with their values. What changes meanwhile may be among them or not.
    pub(super) fn entries(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut entries = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        // A key that is removed while it is the last one makes the kernel begin anew: no more than there can be.
        for _ in 0..MOST_ENTRIES {
            let mut next = vec![0; self.key];
            let after = last.as_ref().map_or(ptr::null(), |key| key.as_ptr());
            let mut attributes =
                Attributes::new().number(descriptor(&self.file)).address(after).address(next.as_mut_ptr());
            // SAFETY: both are borrowed until after the call, and as long as the map was made for; none is for the
            // first.
            #[expect(unsafe_code, reason = "see `Attributes::call`")]
            let Some(_) = unless_missing(unsafe { attributes.call(MAP_NEXT_KEY) })? else { break };
            if let Some(value) = self.value(&next)? {
                entries.push((next.clone(), value));
            }
            last = Some(next);
        }
        Ok(entries)
    }
}

impl Program {
    /// Has the kernel verify a program.
    pub(super) fn load(instructions: &[u8], name: &CStr) -> io::Result<Self> {
        let licence = c"GPL";
        // Name and instructions are told apart by their places; between them are a log, which is not wanted, the
        // kernel's version, and flags.
        let mut attributes = Attributes::new()
            .number(CLASSIFIER)
            .number(length(instructions) / 8)
            .address(instructions.as_ptr())
            .address(licence.as_ptr())
            .number(0)
            .number(0)
            .address(ptr::null::<u8>())
            .number(0)
            .number(0);
        attributes.octets.extend(name.to_bytes().iter().take(15));
        // SAFETY: the instructions are borrowed until after the call, and as long as is told; the licence ends with
        // NUL.
        #[expect(unsafe_code, reason = "see `Attributes::open`")]
        let file = unsafe { attributes.open(PROGRAM_LOAD)? };
        let id = word(&information(&file, &mut [])?, IDENTIFIER);
        Ok(Self { file, id })
    }

    /// The program with this identifier.
    pub(super) fn with_id(id: u32) -> io::Result<Self> {
        // SAFETY: there is no address; the command returns a descriptor.
        #[expect(unsafe_code, reason = "see `Attributes::open`")]
        let file = unsafe { Attributes::new().number(id).open(PROGRAM_BY_ID)? };
        Ok(Self { file, id })
    }

    /// By which a filter that is being made names it.
    pub(super) fn descriptor(&self) -> u32 {
        descriptor(&self.file)
    }

    /// Its maps, in the order in which it names them; none if they are not as many.
    pub(super) fn maps<const COUNT: usize>(&self) -> io::Result<Option<[Map; COUNT]>> {
        let mut maps = [0_u32; COUNT];
        let told = information(&self.file, &mut maps)?;
        if usize::try_from(word(&told, MAP_COUNT)).expect("few") != COUNT {
            return Ok(None);
        }
        let maps: Vec<Map> = maps.iter().map(|id| Map::with_id(*id)).collect::<io::Result<_>>()?;
        Ok(maps.try_into().ok())
    }

    /// What it returns for a frame that comes in by an interface.
    pub(super) fn verdict(&self, interface: u32, frame: &[u8]) -> io::Result<u32> {
        let mut context = [0_u8; CONTEXT];
        context[INTERFACE..INTERFACE + 4].copy_from_slice(&interface.to_ne_bytes());
        let none: *const u8 = ptr::null();
        let mut attributes = Attributes::new()
            .number(self.descriptor())
            .number(0)
            .number(length(frame))
            .number(0)
            .address(frame.as_ptr())
            .address(none)
            // Once, and for how long is filled in.
            .number(1)
            .number(0)
            .number(u32::try_from(CONTEXT).expect("192"))
            .number(0)
            .address(context.as_ptr())
            .address(none);
        // SAFETY: frame and context are borrowed until after the call, and as long as is told; nothing is written out.
        #[expect(unsafe_code, reason = "see `Attributes::call`")]
        unsafe {
            attributes.call(PROGRAM_TEST)?
        };
        // The second number is the result.
        Ok(word(&attributes.octets, 4))
    }
}
