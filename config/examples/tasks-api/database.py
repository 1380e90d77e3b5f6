"""Where the tasks are kept: one table, in SQLite or in PostgreSQL."""

import os
from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import DateTime, String, Text, create_engine, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker


def database_url():
    """TASKS_DATABASE_URL, as SQLAlchemy writes it, with the password of TASKS_DATABASE_PASSWORD_FILE; else SQLite."""
    if not (text := os.environ.get("TASKS_DATABASE_URL")):
        return make_url(f"sqlite:///{os.environ.get('TASKS_DATABASE', 'tasks.db')}")
    url = make_url(text)
    if file := os.environ.get("TASKS_DATABASE_PASSWORD_FILE"):
        url = url.set(password=Path(file).read_text().removesuffix("\n"))
    return url


def make_engine(url):
    if url.get_backend_name() == "sqlite":
        return create_engine(url, connect_args={"check_same_thread": False, "timeout": 10})
    # A connection that the server has closed is noticed before it is used.
    return create_engine(url, pool_pre_ping=True)


engine = make_engine(database_url())
Session = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Task(Base):
    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(256), index=True)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    completed: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=lambda: datetime.now(timezone.utc).replace(tzinfo=None))


def create_tables() -> None:
    Base.metadata.create_all(engine)
