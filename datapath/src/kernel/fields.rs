//! Which kernel fields the programs read, and their offsets as a table.

use sockway_common::cast;
use sockway_common::offsets::{OFFSETS, Offsets, UNKNOWN};

use crate::arch::{REGS_CALL, REGS_FOURTH, REGS_MODE, REGS_THIRD};

/// One kernel field: its type, its path in it, and where its offset goes.
pub(super) struct Field {
    pub(super) of: &'static str,
    pub(super) path: &'static str,
    pub(super) slot: fn(&mut Offsets) -> &mut u32,
}

macro_rules! fields {
    ($($of:literal $path:expr => $slot:ident),+ $(,)?) => {
        [$(Field { of: $of, path: $path, slot: |o| &mut o.$slot }),+]
    };
}

/// What is no plain field: its name in [`table`], and where it goes.
pub(super) type Other = (&'static str, fn(&mut Offsets) -> &mut u32);

/// Every one of them but the ids of [`cast::TYPES`].
pub(super) const OTHERS: [Other; 4] = [
    ("sizeof lru_gen_folio.nr_pages", |o| {
        &mut o.memcg_generations_size
    }),
    ("sizeof pt_regs", |o| &mut o.regs_size),
    ("bit of tcp_sock.recvmsg_inq", |o| {
        &mut o.tcp_recvmsg_inq_bit
    }),
    ("id of bpf_rdonly_cast()", |o| &mut o.cast_function),
];

/// Every field that the programs read.
pub(super) const FIELDS: [Field; OFFSETS - OTHERS.len() - cast::TYPES.len()] = fields![
    "bpf_sock_ops_kern" "sk" => sops_sk,
    "tcp_request_sock" "rcv_isn" => req_rcv_isn,
    "tcp_request_sock" "snt_isn" => req_snt_isn,
    "sock" "sk_user_data" => sk_user_data,
    "sock" "sk_socket" => sk_socket,
    "sock" "__sk_common.skc_cookie" => sk_cookie,
    "sock" "sk_lock.owned" => sk_lock_owned,
    "sock" "sk_rcvlowat" => sk_rcvlowat,
    "sock" "sk_rcvbuf" => sk_rcvbuf,
    "sock" "sk_backlog.rmem_alloc" => sk_rmem_alloc,
    "sock" "sk_bpf_storage" => sk_bpf_storage,
    "sock" "__sk_common.skc_flags" => sk_flags,
    "sock" "sk_uid" => sk_uid,
    "socket" "sk" => socket_sk,
    "socket" "file" => socket_file,
    "file" "f_flags" => file_flags,
    "file" "f_ep" => file_ep,
    "file" "f_ep_links" => file_ep_links,
    "epitem" "fllink" => epitem_link,
    "epitem" "event.events" => epitem_events,
    "sk_psock" "ingress_msg" => psock_ingress_msg,
    "sk_psock" "msg_tot_len" => psock_msg_tot_len,
    "sk_msg" "list" => msg_list,
    "sk_msg" "sg.size" => msg_size,
    "tcp_sock" "copied_seq" => tcp_copied_seq,
    "tcp_sock" "rcv_nxt" => tcp_rcv_nxt,
    "tcp_sock" "snd_una" => tcp_snd_una,
    "tcp_sock" "write_seq" => tcp_write_seq,
    "sock" "sk_tsflags" => sk_tsflags,
    "sock" "sk_peek_off" => sk_peek_off,
    "sock" "sk_err" => sk_err,
    "sock" "__sk_common.skc_prot" => sk_prot,
    "proto" "memory_pressure" => proto_memory_pressure,
    "sock" "sk_memcg" => sk_memcg,
    "mem_cgroup" "memory" => memcg_memory,
    "mem_cgroup" "nodeinfo" => memcg_nodeinfo,
    "mem_cgroup_per_node" "lru_zone_size" => memcg_lru,
    "mem_cgroup_per_node" GENERATIONS => memcg_generations,
    "page_counter" "usage" => counter_usage,
    "page_counter" "max" => counter_max,
    "page_counter" "parent" => counter_parent,
    "tcp_sock" "urg_seq" => tcp_urg_seq,
    "inet_connection_sock" "icsk_ulp_ops" => icsk_ulp_ops,
    "sock" "__sk_common.skc_listener" => req_listener,
    "sock" "__sk_common.skc_net.net" => sk_net,
    "net" "ns.inum" => net_inode,
    "tcp_sock" "bytes_received" => tcp_bytes_received,
    "tcp_sock" "bytes_acked" => tcp_bytes_acked,
    "sk_psock" "refcnt" => psock_refcnt,
    "sk_psock" "ingress_skb.qlen" => psock_ingress_skb,
    "task_struct" "mm" => task_mm,
    "mm_struct" "exe_file" => mm_exe,
    "file" "f_inode" => file_inode,
    "inode" "i_ino" => inode_number,
    "inode" "i_sb" => inode_super,
    "super_block" "s_dev" => super_device,
    "task_struct" "stack" => task_stack,
    "pt_regs" REGS_CALL => regs_call,
    "pt_regs" REGS_MODE => regs_mode,
    "pt_regs" REGS_THIRD => regs_third,
    "pt_regs" REGS_FOURTH => regs_fourth,
];

/// An array of three dimensions, which BTF may show as one of one.
pub(super) const GENERATIONS: &str = "lruvec.lrugen.nr_pages";

/// Every field as `type.path`, with its offset in bytes; `None` where the kernel lacks it.
/// The last rows are what is no plain field: sizes, the offset of a bit, in bits, and ids of types.
#[must_use]
pub fn table(offsets: &Offsets) -> Vec<(String, Option<u32>)> {
    let mut offsets = *offsets;
    let known = |value: u32| (value != UNKNOWN).then_some(value);
    let mut rows = Vec::with_capacity(OFFSETS);
    each(&mut offsets, |name, slot| rows.push((name, known(*slot))));
    rows
}

/// The offsets that [`table`] shows; rows of other names are left out.
#[must_use]
pub fn from_table(rows: &[(String, Option<u32>)]) -> Offsets {
    let mut offsets = Offsets::NONE;
    each(&mut offsets, |name, slot| {
        let row = rows.iter().find(|row| row.0 == name);
        *slot = row.and_then(|row| row.1).unwrap_or(UNKNOWN);
    });
    offsets
}

/// Goes through every number of the offsets, with its name in [`table`].
fn each(offsets: &mut Offsets, mut with: impl FnMut(String, &mut u32)) {
    for Field { of, path, slot } in &FIELDS {
        with(format!("{of}.{path}"), slot(offsets));
    }
    for (name, slot) in OTHERS {
        with(name.to_owned(), slot(offsets));
    }
    for (name, slot) in cast::TYPES.iter().zip(&mut offsets.cast_types) {
        with(format!("id of {name}"), slot);
    }
}

/// Fields that this kernel lacks, as `type.path`.
#[must_use]
pub fn missing(offsets: &Offsets) -> Vec<String> {
    let rows = table(offsets).into_iter().filter(|row| row.1.is_none());
    rows.map(|row| row.0).collect()
}
