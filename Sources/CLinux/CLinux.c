#define _GNU_SOURCE
#include "CLinux.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/time.h>

int linux_accept(int listener, struct sockaddr_storage *peer, socklen_t *length) {
    return USHER_RESULT(accept4(listener, (struct sockaddr *)peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

// A handler may do next to nothing: _exit is among the calls that it may make (signal-safety(7)).
static void end_with_success(int signal) {
    (void)signal;
    _exit(0);
}

void linux_end_on_signal(int signal) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = end_with_success;
    sigaction(signal, &action, NULL);
}

int linux_affinity_count(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) < 0) return -errno;
    return CPU_COUNT(&set);
}

void linux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

int linux_handover_socket(void) { return USHER_RESULT(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

int linux_handover_patience(int fd, int seconds) {
    struct timeval patience = {.tv_sec = seconds};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) return -errno;
    return USHER_RESULT(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience));
}

int linux_handover_accept(int fd) { return USHER_RESULT(accept4(fd, NULL, NULL, SOCK_CLOEXEC)); }

union descriptor_space {
    char bytes[CMSG_SPACE(sizeof(int) * LINUX_MOST_DESCRIPTORS)];
    struct cmsghdr aligned;
};

ssize_t linux_send_descriptors(int fd, const void *bytes, size_t count, const int *descriptors, int descriptor_count) {
    struct iovec text = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    union descriptor_space space;
    if (descriptor_count < 0 || descriptor_count > LINUX_MOST_DESCRIPTORS) return -EINVAL;
    if (descriptor_count > 0) {
        size_t size = sizeof(int) * (size_t)descriptor_count;
        memset(&space, 0, sizeof space);
        message.msg_control = space.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), descriptors, size);
    }
    return USHER_RESULT(sendmsg(fd, &message, MSG_NOSIGNAL));
}

ssize_t linux_receive_descriptors(int fd, void *bytes, size_t count, int *descriptors, int *descriptor_count) {
    struct iovec text = {.iov_base = bytes, .iov_len = count};
    union descriptor_space space;
    struct msghdr message = {
        .msg_iov = &text, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    *descriptor_count = 0;
    ssize_t received = USHER_RESULT(recvmsg(fd, &message, MSG_CMSG_CLOEXEC));
    if (received < 0) return received;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        int added = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if (*descriptor_count + added > LINUX_MOST_DESCRIPTORS) added = LINUX_MOST_DESCRIPTORS - *descriptor_count;
        memcpy(descriptors + *descriptor_count, CMSG_DATA(header), sizeof(int) * (size_t)added);
        *descriptor_count += added;
    }
    return message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : received;
}

int linux_peer_process(int fd, int32_t *process, uint32_t *user) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
    *process = peer.pid;
    *user = peer.uid;
    return 0;
}

ssize_t linux_notify(const char *path, size_t length, const void *bytes, size_t count) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (length == 0 || length >= sizeof address.sun_path) return -EINVAL;
    memcpy(address.sun_path, path, length);
    // "@name" is a name without a file; it ends where the length says and not with a zero (unix(7)).
    if (path[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '@' ? 0 : 1));
    ssize_t sent = USHER_RESULT(
        sendto(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, size));
    close(fd);
    return sent;
}

int linux_is_listening(int fd) {
    int type = 0, listens = 0;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return -errno;
    length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0) return -errno;
    return type == SOCK_STREAM && listens;
}
