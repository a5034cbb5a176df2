"""Prints one result of a box that wants keys, with pyzmq alone."""

import sys

import zmq
import zmq.auth

socket = zmq.Context().socket(zmq.SUB)
socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate("dashboard.key_secret")
socket.curve_serverkey, _ = zmq.auth.load_certificate("edge1.key")
socket.connect(sys.argv[1])
socket.setsockopt_string(zmq.SUBSCRIBE, "result/")
print(socket.recv_multipart(), flush=True)
