#define _GNU_SOURCE
// A backend of large bodies: `bulk PORT`. GET /N answers with N bytes; any other method reads the whole body, which
// must have a Content-Length, and then answers. One thread a connection, keep-alive, no checks: for the bench alone.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };
static char zeros[CHUNK];

static int send_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 1;
}

static int answer(int fd, uint64_t size) {
    char head[128];
    int count = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", (unsigned long)size);
    if (!send_all(fd, head, (size_t)count)) return 0;
    for (; size >= CHUNK; size -= CHUNK)
        if (!send_all(fd, zeros, CHUNK)) return 0;
    return send_all(fd, zeros, size);
}

static void *serve(void *argument) {
    int fd = (int)(intptr_t)argument;
    char *input = malloc(CHUNK + 1);
    size_t held = 0;
    for (;;) {
        char *end;
        input[held] = 0;
        while (!(end = strstr(input, "\r\n\r\n"))) {
            ssize_t count = held < CHUNK ? recv(fd, input + held, CHUNK - held, 0) : 0;
            if (count <= 0) goto done;
            input[held += (size_t)count] = 0;
        }
        char *length = strcasestr(input, "\r\ncontent-length:");
        uint64_t left = length && length < end ? strtoull(length + 17, NULL, 10) : 0;
        int is_get = memcmp(input, "GET /", 5) == 0;
        uint64_t size = is_get ? strtoull(input + 5, NULL, 10) : 0;
        size_t rest = held - (size_t)(end + 4 - input);
        if (rest > left) {
            memmove(input, end + 4 + left, rest - left);
            held = rest - left;
        } else {
            held = 0;
            left -= rest;
            while (left > 0) {
                ssize_t count = recv(fd, input, left < CHUNK ? left : CHUNK, 0);
                if (count <= 0) goto done;
                left -= (uint64_t)count;
            }
        }
        if (!answer(fd, size)) break;
    }
done:
    free(input);
    close(fd);
    return NULL;
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0"))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0) {
        perror("bulk");
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0) pthread_detach(thread);
        else close(fd);
    }
}
