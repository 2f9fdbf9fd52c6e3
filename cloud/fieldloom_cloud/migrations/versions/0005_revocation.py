"""revocation."""

import hashlib

import sqlalchemy as sa
from alembic import op
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revocation_list",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.add_column(sa.Column("key", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("revoked", sa.DateTime(), nullable=True))
        batch_op.add_column(sa.Column("reason", sa.String(length=32), nullable=True))
        batch_op.create_index(batch_op.f("ix_certificate_key"), ["key"], unique=False)
        batch_op.create_index(batch_op.f("ix_certificate_revoked"), ["revoked"], unique=False)
    _fill_in_keys()
    with op.batch_alter_table("down_record", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=16), nullable=False, server_default="command"))
        batch_op.alter_column("command", existing_type=sa.String(length=32), nullable=True)


def _fill_in_keys() -> None:
    certificate = sa.table("certificate", sa.column("serial"), sa.column("pem"), sa.column("key"))
    for serial, pem in op.get_bind().execute(sa.select(certificate.c.serial, certificate.c.pem)).all():
        public = x509.load_pem_x509_certificate(pem.encode()).public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        change = certificate.update().where(certificate.c.serial == serial)
        op.execute(change.values(key=hashlib.sha256(spki).hexdigest()))


def downgrade() -> None:
    op.execute("DELETE FROM down_record WHERE command IS NULL")
    with op.batch_alter_table("down_record", schema=None) as batch_op:
        batch_op.alter_column("command", existing_type=sa.String(length=32), nullable=False)
        batch_op.drop_column("kind")
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_certificate_revoked"))
        batch_op.drop_index(batch_op.f("ix_certificate_key"))
        batch_op.drop_column("reason")
        batch_op.drop_column("revoked")
        batch_op.drop_column("key")
    op.drop_table("revocation_list")
