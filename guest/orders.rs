//! What krundl tells its program in the guest: one small file, written on the host and read in the guest.
//!
//! The kernel command line, libkrun's own way, breaks quotation marks, tabs, newlines and everything that is not
//! ASCII, so the workload's arguments and environment travel in this file instead. It begins with the line
//! `krundl-orders 5` and goes on with the fields of [`Orders`] in their order (what is
//! optional comes behind a truth value): a number, a truth value, a length and
//! a count are 32 bits, little-endian; a string is its length and its bytes; a list is its count and its items.
//!
//! This file is compiled into the library and into the guest program, so it uses nothing but the standard library.

use std::fmt;

/// The first line of every orders file; the number grows when the layout changes.
const MAGIC: &[u8] = b"krundl-orders 5\n";

/// Everything that the guest program has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Where the guest program reports to.
    pub channel: Channel,
    /// The vsock port on which it listens for requests of the host.
    pub control: Option<u32>,
    /// Take standard input, output and error from libkrun's virtio ports, and the console as the terminal. For kernels
    /// that start process 1 without open descriptors.
    pub reopen_stdio: bool,
    /// Of those, the ones for which there will be a port: bit n for descriptor n. The kernel learns a port's name from the
    /// host some time after it has found the device, so that these are waited for.
    pub ports: u32,
    /// A disk to make the root before anything else.
    pub root: Option<OrderRoot>,
    /// Write everything out at the end and make the root read-only, because it is on a disk.
    pub settle: bool,
    /// Shares to mount, in this order.
    pub mounts: Vec<OrderMount>,
    /// Network cards to set up.
    pub nics: Vec<OrderNic>,
    /// The workload: a path, or a name that is looked up in the `PATH` of [`env`](Self::env).
    pub exec: Vec<u8>,
    /// The workload's arguments, without the program's own name.
    pub args: Vec<Vec<u8>>,
    /// The workload's whole environment, each entry `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// The workload's working directory; empty leaves it where init put it.
    pub workdir: Vec<u8>,
}

/// The file system that becomes the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRoot {
    /// The block device.
    pub device: Vec<u8>,
    /// The file system's type; empty tries all that the kernel knows.
    pub fstype: Vec<u8>,
    /// Options, as `mount -o` takes them; may be empty.
    pub options: Vec<u8>,
    /// Mount read-only.
    pub read_only: bool,
}

/// One virtio-fs share to mount in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderMount {
    /// The share's virtio-fs tag.
    pub tag: Vec<u8>,
    /// The mount point in the guest.
    pub path: Vec<u8>,
    /// Make the mount point and the directories above it where they are missing.
    pub create: bool,
    /// Mount read-only.
    pub read_only: bool,
    /// Lay a layer in the guest's memory over the share, which takes what is written.
    pub overlay: bool,
    /// Further options of the file system, as `mount -o` takes them; may be empty.
    pub options: Vec<u8>,
}

/// The way on which the guest program reports to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// No report.
    None,
    /// The guest connects to this vsock port of the host.
    Vsock {
        /// The port's number.
        port: u32,
    },
    /// The guest opens the virtio console port of this name.
    Port {
        /// The port's name, as in `/sys/class/virtio-ports/*/name`.
        name: Vec<u8>,
    },
}

/// One network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderNic {
    /// What the host calls it.
    pub field: Vec<u8>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// How it gets its address.
    pub setup: NicSetup,
    /// The name servers, as text; none: those that DHCP names.
    pub dns: Option<Vec<Vec<u8>>>,
    /// Run the workload although this fails.
    pub optional: bool,
}

/// How a network card gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicSetup {
    /// The one that a DHCP server gives.
    Dhcp,
    /// This one.
    Static {
        /// The address.
        address: [u8; 4],
        /// The length of its network's prefix in bits, 0 to 32.
        prefix: u8,
        /// The way out; all zero for none.
        gateway: [u8; 4],
    },
}

/// Why some bytes are no orders. The numbers are offsets from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes do not begin as orders of a version that this program knows.
    Magic,
    /// A field is longer than what is left of the bytes.
    Truncated {
        /// Where the field begins.
        at: usize,
    },
    /// A truth value or a kind has a number without a meaning.
    Value {
        /// Where the number stands.
        at: usize,
    },
    /// A string has a NUL inside, which no path, argument or variable can have.
    Nul {
        /// Where the string begins.
        at: usize,
    },
    /// There is something after the last field.
    Trailing {
        /// Where the rest begins.
        at: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Magic => write!(f, "they do not begin with the line `krundl-orders 5`"),
            DecodeError::Truncated { at } => write!(f, "the field at byte {at} is cut off"),
            DecodeError::Value { at } => write!(f, "the number at byte {at} has no meaning"),
            DecodeError::Nul { at } => write!(f, "the string at byte {at} has a NUL inside"),
            DecodeError::Trailing { at } => write!(f, "something follows after the last field, at byte {at}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Orders {
    /// The bytes of the orders file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        match &self.channel {
            Channel::None => number(&mut out, 0),
            Channel::Vsock { port } => {
                number(&mut out, 1);
                number(&mut out, *port);
            }
            Channel::Port { name } => {
                number(&mut out, 2);
                string(&mut out, name);
            }
        }
        number(&mut out, self.control.is_some().into());
        self.control.iter().for_each(|port| number(&mut out, *port));
        number(&mut out, self.reopen_stdio.into());
        number(&mut out, self.ports);
        number(&mut out, self.root.is_some().into());
        if let Some(root) = &self.root {
            string(&mut out, &root.device);
            string(&mut out, &root.fstype);
            string(&mut out, &root.options);
            number(&mut out, root.read_only.into());
        }
        number(&mut out, self.settle.into());
        number(&mut out, length(self.mounts.len()));
        for mount in &self.mounts {
            string(&mut out, &mount.tag);
            string(&mut out, &mount.path);
            number(&mut out, mount.create.into());
            number(&mut out, mount.read_only.into());
            number(&mut out, mount.overlay.into());
            string(&mut out, &mount.options);
        }
        number(&mut out, length(self.nics.len()));
        for nic in &self.nics {
            string(&mut out, &nic.field);
            let [a, b, c, d, e, f] = nic.mac;
            number(&mut out, u32::from_le_bytes([a, b, c, d]));
            number(&mut out, u32::from_le_bytes([e, f, 0, 0]));
            match nic.setup {
                NicSetup::Dhcp => number(&mut out, 0),
                NicSetup::Static { address, prefix, gateway } => {
                    number(&mut out, 1);
                    number(&mut out, u32::from_le_bytes(address));
                    number(&mut out, prefix.into());
                    number(&mut out, u32::from_le_bytes(gateway));
                }
            }
            number(&mut out, nic.dns.is_some().into());
            if let Some(dns) = &nic.dns {
                strings(&mut out, dns);
            }
            number(&mut out, nic.optional.into());
        }
        string(&mut out, &self.exec);
        strings(&mut out, &self.args);
        strings(&mut out, &self.env);
        string(&mut out, &self.workdir);
        out
    }

    /// Reads the bytes of an orders file. Any bytes may be given; only what [`encode`](Self::encode) writes for strings
    /// without NUL is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Orders, DecodeError> {
        if !bytes.starts_with(MAGIC) {
            return Err(DecodeError::Magic);
        }
        let mut reader = Reader { bytes, at: MAGIC.len() };
        let kind_at = reader.at;
        let channel = match reader.number()? {
            0 => Channel::None,
            1 => Channel::Vsock { port: reader.number()? },
            2 => Channel::Port { name: reader.string()? },
            _ => return Err(DecodeError::Value { at: kind_at }),
        };
        let orders = Orders {
            channel,
            control: if reader.truth()? { Some(reader.number()?) } else { None },
            reopen_stdio: reader.truth()?,
            ports: reader.number()?,
            root: if reader.truth()? { Some(reader.root()?) } else { None },
            settle: reader.truth()?,
            mounts: reader.list(Reader::mount)?,
            nics: reader.list(Reader::nic)?,
            exec: reader.string()?,
            args: reader.list(Reader::string)?,
            env: reader.list(Reader::string)?,
            workdir: reader.string()?,
        };
        if reader.at < bytes.len() {
            return Err(DecodeError::Trailing { at: reader.at });
        }
        Ok(orders)
    }
}

pub(super) fn number(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A length that does not fit becomes one that the reader refuses, instead of a wrong one.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

pub(super) fn strings(out: &mut Vec<u8>, items: &[Vec<u8>]) {
    number(out, length(items.len()));
    for item in items {
        string(out, item);
    }
}

/// Reads what is written so; [frames](super::frames) are, too.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize, field_at: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.bytes[self.at..].get(..len).ok_or(DecodeError::Truncated { at: field_at })?;
        self.at += len;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u32, DecodeError> {
        let taken = self.take(4, self.at)?;
        Ok(u32::from_le_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    pub(super) fn truth(&mut self) -> Result<bool, DecodeError> {
        let at = self.at;
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value { at }),
        }
    }

    pub(super) fn string(&mut self) -> Result<Vec<u8>, DecodeError> {
        let at = self.at;
        let len = self.number()? as usize;
        let taken = self.take(len, at)?;
        if taken.contains(&0) {
            return Err(DecodeError::Nul { at });
        }
        Ok(taken.to_vec())
    }

    /// The count is not believed: items are read until it is reached or the bytes end, and nothing is reserved for it.
    pub(super) fn list<T>(&mut self, item: fn(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn root(&mut self) -> Result<OrderRoot, DecodeError> {
        Ok(OrderRoot {
            device: self.string()?,
            fstype: self.string()?,
            options: self.string()?,
            read_only: self.truth()?,
        })
    }

    fn nic(&mut self) -> Result<OrderNic, DecodeError> {
        let field = self.string()?;
        let [a, b, c, d] = self.number()?.to_le_bytes();
        let at = self.at;
        let [e, f, 0, 0] = self.number()?.to_le_bytes() else { return Err(DecodeError::Value { at }) };
        let at = self.at;
        let setup = match self.number()? {
            0 => NicSetup::Dhcp,
            1 => {
                let address = self.number()?.to_le_bytes();
                let at = self.at;
                let prefix = u8::try_from(self.number()?).ok().filter(|prefix| *prefix <= 32);
                let prefix = prefix.ok_or(DecodeError::Value { at })?;
                NicSetup::Static { address, prefix, gateway: self.number()?.to_le_bytes() }
            }
            _ => return Err(DecodeError::Value { at }),
        };
        let dns = if self.truth()? { Some(self.list(Reader::string)?) } else { None };
        Ok(OrderNic { field, mac: [a, b, c, d, e, f], setup, dns, optional: self.truth()? })
    }

    fn mount(&mut self) -> Result<OrderMount, DecodeError> {
        Ok(OrderMount {
            tag: self.string()?,
            path: self.string()?,
            create: self.truth()?,
            read_only: self.truth()?,
            overlay: self.truth()?,
            options: self.string()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn full() -> Orders {
        let every_byte: Vec<u8> = (1..=255).collect();
        Orders {
            channel: Channel::Port { name: b"krundl".to_vec() },
            control: Some(u32::MAX),
            reopen_stdio: true,
            ports: 0b101,
            root: Some(OrderRoot {
                device: b"/dev/vda".to_vec(),
                fstype: b"ext4".to_vec(),
                options: b"noatime".to_vec(),
                read_only: true,
            }),
            settle: true,
            mounts: vec![
                OrderMount {
                    tag: b"m0".to_vec(),
                    path: b"/work space/\xff".to_vec(),
                    create: true,
                    read_only: false,
                    overlay: true,
                    options: Vec::new(),
                },
                OrderMount {
                    tag: b"m1".to_vec(),
                    path: b"/data".to_vec(),
                    create: false,
                    read_only: true,
                    overlay: false,
                    options: b"dax=always".to_vec(),
                },
            ],
            nics: vec![
                OrderNic {
                    field: b"nics[0]".to_vec(),
                    mac: [0, 1, 2, 3, 4, 5],
                    setup: NicSetup::Static { address: [10, 0, 2, 15], prefix: 24, gateway: [10, 0, 2, 2] },
                    dns: Some(vec![b"192.0.2.53".to_vec()]),
                    optional: true,
                },
                OrderNic { field: Vec::new(), mac: [0xff; 6], setup: NicSetup::Dhcp, dns: None, optional: false },
            ],
            exec: b"sh".to_vec(),
            args: vec![b"-c".to_vec(), every_byte.clone(), Vec::new(), vec![b'x'; 100 * 1024]],
            env: vec![b"PATH=/bin".to_vec(), [b"BYTES=".to_vec(), every_byte].concat()],
            workdir: b"/data".to_vec(),
        }
    }

    fn small() -> Orders {
        Orders {
            channel: Channel::None,
            control: None,
            reopen_stdio: false,
            ports: 0,
            root: None,
            settle: false,
            mounts: Vec::new(),
            nics: Vec::new(),
            exec: b"/x".to_vec(),
            args: Vec::new(),
            env: Vec::new(),
            workdir: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let vsock = Orders { channel: Channel::Vsock { port: u32::MAX }, ..small() };
        for orders in [full(), small(), vsock] {
            assert_eq!(Orders::decode(&orders.encode()), Ok(orders));
        }
    }

    #[test]
    fn the_layout_stays() {
        let orders = Orders { channel: Channel::Vsock { port: 5000 }, args: vec![b"a".to_vec()], ..small() };
        let mut expected = b"krundl-orders 5\n".to_vec();
        expected.extend([1, 0, 0, 0, 0x88, 0x13, 0, 0]); // vsock, port
        expected.extend([0, 0, 0, 0]); // control
        expected.extend([0, 0, 0, 0]); // reopen_stdio
        expected.extend([0, 0, 0, 0]); // ports
        expected.extend([0, 0, 0, 0]); // root
        expected.extend([0, 0, 0, 0]); // settle
        expected.extend([0, 0, 0, 0]); // mounts
        expected.extend([0, 0, 0, 0]); // nics
        expected.extend([2, 0, 0, 0, b'/', b'x']); // exec
        expected.extend([1, 0, 0, 0, 1, 0, 0, 0, b'a']); // args
        expected.extend([0, 0, 0, 0]); // env
        expected.extend([0, 0, 0, 0]); // workdir
        assert_eq!(orders.encode(), expected);
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = Orders { args: vec![b"-c".to_vec()], ..full() }.encode();
        for len in 0..bytes.len() {
            let error = Orders::decode(&bytes[..len]).expect_err("cut orders were accepted");
            assert!(matches!(error, DecodeError::Magic | DecodeError::Truncated { .. }), "{len}: {error:?}");
        }
    }

    #[test]
    fn every_changed_byte_is_refused_or_read_as_what_it_says() {
        let bytes = Orders { args: vec![b"-c".to_vec()], ..full() }.encode();
        for at in 0..bytes.len() {
            for value in [0, 1, 2, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(orders) = Orders::decode(&changed) {
                    assert_eq!(orders.encode(), changed);
                }
            }
        }
    }

    #[test]
    fn huge_counts_and_lengths_are_errors() {
        let mut bytes = MAGIC.to_vec();
        for _ in 0..6 {
            number(&mut bytes, 0);
        }
        number(&mut bytes, u32::MAX);
        assert_eq!(Orders::decode(&bytes), Err(DecodeError::Truncated { at: bytes.len() }));
        let at = bytes.len();
        number(&mut bytes, u32::MAX);
        assert_eq!(Orders::decode(&bytes), Err(DecodeError::Truncated { at }));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert_eq!(Orders::decode(b""), Err(DecodeError::Magic));
        assert_eq!(Orders::decode(b"krundl-orders 1\n"), Err(DecodeError::Magic));
        let mut bytes = small().encode();
        bytes.push(0);
        assert_eq!(Orders::decode(&bytes), Err(DecodeError::Trailing { at: bytes.len() - 1 }));
        let nul = Orders { exec: b"a\0b".to_vec(), ..small() };
        assert!(matches!(Orders::decode(&nul.encode()), Err(DecodeError::Nul { .. })));
        let mut kind = small().encode();
        kind[MAGIC.len()] = 3;
        assert_eq!(Orders::decode(&kind), Err(DecodeError::Value { at: MAGIC.len() }));
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        vec(1..=u8::MAX, 0..40)
    }

    fn any_orders() -> impl Strategy<Value = Orders> {
        let channel = prop_oneof![
            Just(Channel::None),
            any::<u32>().prop_map(|port| Channel::Vsock { port }),
            bytes().prop_map(|name| Channel::Port { name }),
        ];
        let mount = (bytes(), bytes(), any::<[bool; 3]>(), bytes()).prop_map(
            |(tag, path, [create, read_only, overlay], options)| OrderMount {
                tag,
                path,
                create,
                read_only,
                overlay,
                options,
            },
        );
        let root = (bytes(), bytes(), bytes(), any::<bool>())
            .prop_map(|(device, fstype, options, read_only)| OrderRoot { device, fstype, options, read_only });
        let strings = || vec(bytes(), 0..5);
        let root = (proptest::option::of(root), any::<bool>());
        let setup =
            prop_oneof![
                Just(NicSetup::Dhcp),
                (any::<[u8; 4]>(), 0..=32u8, any::<[u8; 4]>())
                    .prop_map(|(address, prefix, gateway)| NicSetup::Static { address, prefix, gateway }),
            ];
        let nic = (bytes(), any::<[u8; 6]>(), setup, proptest::option::of(strings()), any::<bool>())
            .prop_map(|(field, mac, setup, dns, optional)| OrderNic { field, mac, setup, dns, optional });
        let devices = (vec(mount, 0..4), vec(nic, 0..3));
        let channel = (channel, proptest::option::of(any::<u32>()));
        (channel, any::<(bool, u32)>(), root, devices, bytes(), strings(), strings(), bytes()).prop_map(
            |((channel, control), (reopen_stdio, ports), (root, settle), (mounts, nics), exec, args, env, workdir)| {
                Orders { channel, control, reopen_stdio, ports, root, settle, mounts, nics, exec, args, env, workdir }
            },
        )
    }

    proptest! {
        #[test]
        fn strings_of_any_bytes_come_back(orders in any_orders()) {
            prop_assert_eq!(Orders::decode(&orders.encode()), Ok(orders));
        }

        #[test]
        fn any_bytes_are_refused_or_read_as_what_they_say(rest in vec(prop_oneof![Just(0), 0..4u8, any::<u8>()], 0..60)) {
            let bytes = [MAGIC, &rest].concat();
            if let Ok(orders) = Orders::decode(&bytes) {
                prop_assert_eq!(orders.encode(), bytes);
            }
        }
    }
}
