# SPDX-License-Identifier: BSD-2-Clause
"""What is derived from the master key of a hardware-wrapped key, by pyca/cryptography: SP 800-108 in
counter mode with AES-256-CMAC; labels and contexts as xfstests' fscrypt-crypt-util has them."""

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

LABEL = bytes.fromhex("0000400000000000000020")


def derive(master, length, context):
    return KBKDFCMAC(algorithm=AES, mode=Mode.CounterMode, length=length, rlen=4, llen=4,
                     location=CounterLocation.BeforeFixed, label=LABEL, context=context,
                     fixed=None).derive(master)


def inline_key(master):
    """64 bytes, for AES-256-XTS."""
    return derive(master, 64, b"inline encryption key" + bytes(6) + bytes.fromhex("0243008250") + bytes(4))


def sw_secret(master):
    return derive(master, 32, b"raw secret" + bytes(9) + bytes.fromhex("0217008050") + bytes(4))
