# Sends frames of a private ethertype with a text to a MAC address: 3,000 at once, then one each millisecond, until it
# is killed. Prints a dot for each hundred.
#   send.py INTERFACE MAC TEXT
import socket, sys, time

interface, mac, text = sys.argv[1:]
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
frame = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("027700000001") + b"\x88\xb5" + text.encode()
frame += bytes(max(0, 60 - len(frame)))
count = 0
while True:
    try:
        out.send(frame)
    except OSError:
        pass  # ENOBUFS, or the bridge has no port that forwards
    count += 1
    if count % 100 == 0:
        print(end=".", flush=True)
    if count > 3000:
        time.sleep(0.001)
