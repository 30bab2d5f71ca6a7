//! Where kernel fields are.

use crate::cast;

/// An offset that this kernel does not have, or that could not be found out.
pub const UNKNOWN: u32 = u32::MAX;

/// Byte offsets of kernel fields, from the kernel's BTF; [`UNKNOWN`] where absent.
///
/// rustc emits no CO-RE relocations, so user space resolves them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `bpf_sock_ops_kern.sk`: `struct sock *`.
    pub sops_sk: u32,
    /// `tcp_request_sock.rcv_isn`: u32.
    pub req_rcv_isn: u32,
    /// `tcp_request_sock.snt_isn`: u32.
    pub req_snt_isn: u32,
    /// `sock.sk_user_data`: tagged pointer to `sk_psock`.
    pub sk_user_data: u32,
    /// `sock.sk_socket`: `struct socket *`.
    pub sk_socket: u32,
    /// `sock.__sk_common.skc_cookie`: u64.
    pub sk_cookie: u32,
    /// `sock.sk_lock.owned`: int.
    pub sk_lock_owned: u32,
    /// `sock.sk_rcvlowat`: int.
    pub sk_rcvlowat: u32,
    /// `sock.sk_rcvbuf`: int.
    pub sk_rcvbuf: u32,
    /// `sock.sk_backlog.rmem_alloc`: int; counts redirected bytes from 6.13 on, and in late 6.1.y.
    pub sk_rmem_alloc: u32,
    /// `sock.sk_bpf_storage`: pointer, null for sockets without any socket storage.
    pub sk_bpf_storage: u32,
    /// `sock.__sk_common.skc_flags`: unsigned long, bits of `enum sock_flags`.
    pub sk_flags: u32,
    /// `sock.sk_uid`: u32, the owner that iptables' owner match sees.
    pub sk_uid: u32,
    /// `socket.sk`: `struct sock *`.
    pub socket_sk: u32,
    /// `socket.file`: `struct file *`.
    pub socket_file: u32,
    /// `file.f_flags`: unsigned int.
    pub file_flags: u32,
    /// `file.f_ep`: pointer to the `hlist_head` of the epoll sets the file is in (5.11).
    pub file_ep: u32,
    /// `file.f_ep_links`: `list_head` of the epoll sets the file is in (until 5.10).
    pub file_ep_links: u32,
    /// `epitem.fllink`: `hlist_node`, or (until 5.10) `list_head`: the link in that list.
    pub epitem_link: u32,
    /// `epitem.event.events`: u32.
    pub epitem_events: u32,
    /// `sk_psock.ingress_msg`: `list_head`.
    pub psock_ingress_msg: u32,
    /// `sk_psock.msg_tot_len`: u32 (6.18 and later stable kernels).
    pub psock_msg_tot_len: u32,
    /// `sk_msg.list`: `list_head`, the link in `ingress_msg`.
    pub msg_list: u32,
    /// `sk_msg.sg.size`: u32.
    pub msg_size: u32,
    /// `tcp_sock.copied_seq`: u32.
    pub tcp_copied_seq: u32,
    /// `tcp_sock.rcv_nxt`: u32.
    pub tcp_rcv_nxt: u32,
    /// `tcp_sock.snd_una`: u32.
    pub tcp_snd_una: u32,
    /// `tcp_sock.write_seq`: u32.
    pub tcp_write_seq: u32,
    /// `sock.sk_tsflags`: the options of `SO_TIMESTAMPING`, u16 or (6.6 and later) u32.
    pub sk_tsflags: u32,
    /// `sock.sk_peek_off`: int, below 0 without `SO_PEEK_OFF`.
    pub sk_peek_off: u32,
    /// `sock.sk_err`: int.
    pub sk_err: u32,
    /// `sock.__sk_common.skc_prot`: `struct proto *`.
    pub sk_prot: u32,
    /// `proto.memory_pressure`: pointer to an unsigned long, not 0 while the protocol's memory
    /// on this node is short.
    pub proto_memory_pressure: u32,
    /// `sock.sk_memcg`: `struct mem_cgroup *` that the socket's memory is charged to, with flags
    /// in its low bits from 6.18 on; null where none is (all of cgroup v1, as a rule).
    pub sk_memcg: u32,
    /// `mem_cgroup.memory`: `struct page_counter`.
    pub memcg_memory: u32,
    /// `mem_cgroup.nodeinfo`: `struct mem_cgroup_per_node *` of each NUMA node.
    pub memcg_nodeinfo: u32,
    /// `mem_cgroup_per_node.lru_zone_size`: unsigned long by zone and LRU list, pages.
    pub memcg_lru: u32,
    /// `mem_cgroup_per_node.lruvec.lrugen.nr_pages`: long by generation, anonymous or file, and
    /// zone, pages. Counted there instead where `CONFIG_LRU_GEN` is in use (6.1).
    pub memcg_generations: u32,
    /// How long that array is, bytes.
    pub memcg_generations_size: u32,
    /// `page_counter.usage`: long, pages.
    pub counter_usage: u32,
    /// `page_counter.max`: unsigned long, pages.
    pub counter_max: u32,
    /// `page_counter.parent`: `struct page_counter *`, null at the root.
    pub counter_parent: u32,
    /// `tcp_sock.urg_seq`: u32, the last urgent byte that came; 0 if none ever did.
    pub tcp_urg_seq: u32,
    /// `tcp_sock.recvmsg_inq`: the offset of this bit (`TCP_INQ`), in bits.
    pub tcp_recvmsg_inq_bit: u32,
    /// `inet_connection_sock.icsk_ulp_ops`: pointer.
    pub icsk_ulp_ops: u32,
    /// `task_struct.stack`: pointer to the base of the kernel stack.
    pub task_stack: u32,
    /// Size of `struct pt_regs`, which lies at the top of the kernel stack.
    pub regs_size: u32,
    /// The system call's number in `pt_regs` (x86-64 `orig_ax`, arm64 `syscallno`).
    pub regs_call: u32,
    /// The word of `pt_regs` that tells user mode (x86-64 `cs`, arm64 `pstate`).
    pub regs_mode: u32,
    /// The system call's third argument in `pt_regs` (x86-64 `dx`, arm64 `regs[2]`).
    pub regs_third: u32,
    /// The system call's fourth argument in `pt_regs` (x86-64 `r10`, arm64 `regs[3]`).
    pub regs_fourth: u32,
    /// `request_sock.__req_common.skc_listener`: `struct sock *`, in `struct sock` at the same place.
    pub req_listener: u32,
    /// `sock.__sk_common.skc_net.net`: `struct net *`.
    pub sk_net: u32,
    /// `net.ns.inum`: u32, the inode number of the network namespace.
    pub net_inode: u32,
    /// `tcp_sock.bytes_received`: u64, payload bytes.
    pub tcp_bytes_received: u32,
    /// `tcp_sock.bytes_acked`: u64, payload bytes.
    pub tcp_bytes_acked: u32,
    /// `sk_psock.refcnt`: u32.
    pub psock_refcnt: u32,
    /// `sk_psock.ingress_skb.qlen`: u32, packets that wait to become messages.
    pub psock_ingress_skb: u32,
    /// `task_struct.mm`: `struct mm_struct *`.
    pub task_mm: u32,
    /// `mm_struct.exe_file`: `struct file *`.
    pub mm_exe: u32,
    /// `file.f_inode`: `struct inode *`.
    pub file_inode: u32,
    /// `inode.i_ino`: unsigned long.
    pub inode_number: u32,
    /// `inode.i_sb`: `struct super_block *`.
    pub inode_super: u32,
    /// `super_block.s_dev`: u32.
    pub super_device: u32,
    /// No offsets: the ids of [`cast::TYPES`] in the kernel's BTF.
    pub cast_types: [u32; cast::TYPES.len()],
    /// No offset: the id of [`cast::FUNCTION`] there.
    pub cast_function: u32,
}

/// How many offsets there are.
pub const OFFSETS: usize = 65 + cast::TYPES.len();

impl Offsets {
    /// No kernel field known: a kernel without BTF.
    pub const NONE: Self = Self {
        sops_sk: UNKNOWN,
        req_rcv_isn: UNKNOWN,
        req_snt_isn: UNKNOWN,
        sk_user_data: UNKNOWN,
        sk_socket: UNKNOWN,
        sk_cookie: UNKNOWN,
        sk_lock_owned: UNKNOWN,
        sk_rcvlowat: UNKNOWN,
        sk_rcvbuf: UNKNOWN,
        sk_rmem_alloc: UNKNOWN,
        sk_bpf_storage: UNKNOWN,
        sk_flags: UNKNOWN,
        sk_uid: UNKNOWN,
        socket_sk: UNKNOWN,
        socket_file: UNKNOWN,
        file_flags: UNKNOWN,
        file_ep: UNKNOWN,
        file_ep_links: UNKNOWN,
        epitem_link: UNKNOWN,
        epitem_events: UNKNOWN,
        psock_ingress_msg: UNKNOWN,
        psock_msg_tot_len: UNKNOWN,
        msg_list: UNKNOWN,
        msg_size: UNKNOWN,
        tcp_copied_seq: UNKNOWN,
        tcp_rcv_nxt: UNKNOWN,
        tcp_snd_una: UNKNOWN,
        tcp_write_seq: UNKNOWN,
        sk_tsflags: UNKNOWN,
        sk_peek_off: UNKNOWN,
        sk_err: UNKNOWN,
        sk_prot: UNKNOWN,
        proto_memory_pressure: UNKNOWN,
        sk_memcg: UNKNOWN,
        memcg_memory: UNKNOWN,
        memcg_nodeinfo: UNKNOWN,
        memcg_lru: UNKNOWN,
        memcg_generations: UNKNOWN,
        memcg_generations_size: UNKNOWN,
        counter_usage: UNKNOWN,
        counter_max: UNKNOWN,
        counter_parent: UNKNOWN,
        tcp_urg_seq: UNKNOWN,
        tcp_recvmsg_inq_bit: UNKNOWN,
        icsk_ulp_ops: UNKNOWN,
        task_stack: UNKNOWN,
        regs_size: UNKNOWN,
        regs_call: UNKNOWN,
        regs_mode: UNKNOWN,
        regs_third: UNKNOWN,
        regs_fourth: UNKNOWN,
        req_listener: UNKNOWN,
        sk_net: UNKNOWN,
        net_inode: UNKNOWN,
        tcp_bytes_received: UNKNOWN,
        tcp_bytes_acked: UNKNOWN,
        psock_refcnt: UNKNOWN,
        psock_ingress_skb: UNKNOWN,
        task_mm: UNKNOWN,
        mm_exe: UNKNOWN,
        file_inode: UNKNOWN,
        inode_number: UNKNOWN,
        inode_super: UNKNOWN,
        super_device: UNKNOWN,
        cast_types: [UNKNOWN; cast::TYPES.len()],
        cast_function: UNKNOWN,
    };

    /// Addresses can be cast to types that the verifier knows.
    #[must_use]
    pub const fn casts(&self) -> bool {
        known(&self.cast_types) && self.cast_function != UNKNOWN
    }

    /// A SYN can be matched to the connection it opens.
    #[inline(always)]
    #[must_use]
    pub const fn sees_syns(&self) -> bool {
        known(&[self.sops_sk, self.req_rcv_isn, self.req_snt_isn])
    }

    /// It can be told which executable runs, and which listening socket a connection came to (rule 3).
    #[inline(always)]
    #[must_use]
    pub const fn sees_programs(&self) -> bool {
        known(&[
            self.req_listener,
            self.task_mm,
            self.mm_exe,
            self.file_inode,
            self.inode_number,
            self.inode_super,
            self.super_device,
        ])
    }

    /// Ends can come in late, and leave: it can be told where a socket is and whether it rests.
    #[inline(always)]
    #[must_use]
    pub const fn sees_rest(&self) -> bool {
        known(&[
            self.sk_cookie,
            self.sk_lock_owned,
            self.sk_user_data,
            self.psock_refcnt,
            self.psock_ingress_skb,
            self.sk_net,
            self.net_inode,
        ])
    }

    /// A socket's file can be looked at (rule 3).
    #[inline(always)]
    #[must_use]
    pub const fn sees_files(&self) -> bool {
        known(&[self.sk_socket, self.socket_file, self.file_flags])
    }

    /// It can be told how an application reads (rule 3).
    #[inline(always)]
    #[must_use]
    pub const fn sees_reads(&self) -> bool {
        self.sees_files()
            && known(&[
                self.sk_cookie,
                self.sk_bpf_storage,
                self.task_stack,
                self.regs_size,
                self.regs_call,
                self.regs_mode,
            ])
    }

    /// It can be told whether an application waits for events edge-triggered (rule 3).
    #[inline(always)]
    #[must_use]
    pub const fn sees_waits(&self) -> bool {
        self.sees_files()
            && (self.file_ep != UNKNOWN || self.file_ep_links != UNKNOWN)
            && known(&[self.epitem_link, self.epitem_events])
    }

    /// Options and flags that only TCP serves can be seen, urgent data too (rule 3).
    #[inline(always)]
    #[must_use]
    pub const fn sees_options(&self) -> bool {
        self.sees_reads()
            && known(&[
                self.sk_flags,
                self.sk_tsflags,
                self.sk_peek_off,
                self.tcp_urg_seq,
                self.tcp_recvmsg_inq_bit,
                self.regs_third,
                self.regs_fourth,
            ])
    }

    /// Both ends' progress can be looked at (rule 1).
    #[inline(always)]
    #[must_use]
    pub const fn sees_order(&self) -> bool {
        known(&[
            self.sk_cookie,
            self.sk_lock_owned,
            self.tcp_copied_seq,
            self.tcp_rcv_nxt,
            self.tcp_snd_una,
            self.tcp_write_seq,
        ])
    }

    /// It can be told whether all TCP of the node is short of memory (rule 2).
    #[inline(always)]
    #[must_use]
    pub const fn sees_pressure(&self) -> bool {
        known(&[self.sk_prot, self.proto_memory_pressure])
    }

    /// It can be told whether a reader's pod is at its memory limit (rule 2).
    #[inline(always)]
    #[must_use]
    pub const fn sees_pod_memory(&self) -> bool {
        known(&[
            self.sk_memcg,
            self.memcg_memory,
            self.memcg_nodeinfo,
            self.memcg_lru,
            self.counter_usage,
            self.counter_max,
            self.counter_parent,
        ])
    }

    #[inline(always)]
    const fn sees_buffer(&self) -> bool {
        known(&[self.sk_rcvbuf, self.sk_rmem_alloc])
    }

    /// The reader's backlog can be looked at as one number (rule 2).
    #[inline(always)]
    #[must_use]
    pub const fn sees_backlog(&self) -> bool {
        self.sees_buffer() && known(&[self.sk_cookie, self.sk_user_data, self.psock_msg_tot_len])
    }

    /// The reader's backlog can be counted message by message (rule 2, older kernels).
    #[inline(always)]
    #[must_use]
    pub const fn counts_backlog(&self) -> bool {
        self.sees_buffer()
            && known(&[
                self.sk_cookie,
                self.sk_user_data,
                self.psock_ingress_msg,
                self.msg_list,
                self.msg_size,
            ])
    }
}

#[inline(always)]
const fn known(offsets: &[u32]) -> bool {
    let mut i = 0;
    while i < offsets.len() {
        if offsets[i] == UNKNOWN {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(feature = "user")]
crate::impl_pod!(Offsets);

const _: () = assert!(size_of::<Offsets>() == OFFSETS * 4);
