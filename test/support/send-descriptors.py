# Sends an HTTP request with its descriptors 3, 4, … (SCM_RIGHTS) to a UNIX socket, and prints the answer.
#   send-descriptors.py SOCKET METHOD PATH BODY COUNT
import array, socket, sys

path, method, target, body, count = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}"
fds = array.array("i", range(3, 3 + int(count)))
connection.sendmsg([request.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
print(connection.recv(65536).decode())
