/* Prints each result of a running daemon: gcc subscribe.c -lzmq -o subscribe */
#include <stdio.h>
#include <zmq.h>

int main(int count, char **arguments) {
    char topic[256], body[65536];
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_SUB);
    zmq_connect(socket, count > 1 ? arguments[1] : "tcp://127.0.0.1:5600");
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "result/", 7);
    for (;;) {
        int named = zmq_recv(socket, topic, sizeof topic, 0), length = zmq_recv(socket, body, sizeof body, 0);
        if (named < 0 || length < 0) return 1;
        printf("%.*s %.*s\n", named, topic, length, body);
        fflush(stdout);
    }
}
