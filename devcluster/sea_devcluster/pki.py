"""The cluster's own certificate authority: server, node and client certificates.

Written once into the cluster's `pki` folder and used until `down` removes it. P-256 keys are made
in a millisecond; the service-account key is RSA because the API server signs tokens with RS256.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sea_devcluster.paths import private_folder, write_private

VALIDITY = datetime.timedelta(days=365)


@dataclass(frozen=True)
class KeyPair:
    """Paths of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into one folder; a pair that exists is used again."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.pair = KeyPair(folder / "ca.crt", folder / "ca.key")
        if not self.pair.certificate.exists():
            self._create()

    def issue(
        self,
        name: str,
        *,
        common_name: str,
        organizations: tuple[str, ...] = (),
        addresses: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> KeyPair:
        """A certificate for `common_name`.

        Args:
            name: File name without suffix.
            common_name: Kubernetes user name of a client certificate.
            organizations: Kubernetes groups of a client certificate.
            addresses: IP addresses of a server certificate.
            hosts: DNS names of a server certificate.
        """
        pair = KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if pair.certificate.exists():
            return pair
        authority = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        authority_key = _load_key(self.pair.key)
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = (
            _builder(_subject(common_name, organizations), authority.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                # Python 3.13 verifies strictly and wants this identifier on leaves.
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(authority_key, hashes.SHA256())
        write_private(pair.key, _pem(key))
        write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return pair

    def service_account_key(self) -> Path:
        """The RSA key that signs and verifies service-account tokens."""
        path = self.folder / "service-account.key"
        if not path.exists():
            write_private(
                path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
            )
        return path

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject("sea-devcluster-ca", ())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self.pair.key, _pem(key))
        write_private(self.pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _subject(common_name: str, organizations: tuple[str, ...]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
