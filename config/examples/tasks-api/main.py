"""A small task list. Who is calling stands in the X-User-Id header; everybody sees their own tasks only."""

import os
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from database import Session, Task, create_tables


class NewTask(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=10_000)


class TaskChange(BaseModel):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    completed: bool | None = None


class TaskView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    owner: str
    title: str
    description: str
    completed: bool
    created_at: datetime


def current_user(x_user_id: Annotated[str | None, Header()] = None) -> str:
    if not x_user_id:
        raise HTTPException(401, "X-User-Id is missing")
    return x_user_id


def database():
    with Session() as session:
        yield session


User = Annotated[str, Depends(current_user)]
Database = Annotated[DatabaseSession, Depends(database)]

router = APIRouter()


def own_task(task_id: int, user: User, db: Database) -> Task:
    task = db.scalar(select(Task).where(Task.id == task_id, Task.owner == user))
    if task is None:
        raise HTTPException(404, "no such task")
    return task


OwnTask = Annotated[Task, Depends(own_task)]


@router.get("/tasks", response_model=list[TaskView])
def list_tasks(user: User, db: Database, completed: bool | None = None):
    query = select(Task).where(Task.owner == user).order_by(Task.id)
    if completed is not None:
        query = query.where(Task.completed == completed)
    return db.scalars(query).all()


@router.post("/tasks", response_model=TaskView, status_code=201)
def create_task(new: NewTask, user: User, db: Database):
    task = Task(owner=user, title=new.title, description=new.description)
    db.add(task)
    db.commit()
    return task


@router.get("/tasks/{task_id}", response_model=TaskView)
def read_task(task: OwnTask):
    return task


@router.put("/tasks/{task_id}", response_model=TaskView)
def replace_task(new: NewTask, task: OwnTask, db: Database):
    task.title, task.description = new.title, new.description
    db.commit()
    return task


@router.patch("/tasks/{task_id}", response_model=TaskView)
def change_task(change: TaskChange, task: OwnTask, db: Database):
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(task, name, value)
    db.commit()
    return task


@router.patch("/tasks/{task_id}/complete", response_model=TaskView)
def complete_task(task: OwnTask, db: Database):
    task.completed = True
    db.commit()
    return task


@router.delete("/tasks/{task_id}", status_code=204)
def delete_task(task: OwnTask, db: Database):
    db.delete(task)
    db.commit()
    return Response(status_code=204)


@asynccontextmanager
async def lifespan(app: FastAPI):
    create_tables()
    yield


app = FastAPI(title="Tasks", lifespan=lifespan)
app.include_router(router)
app.include_router(router, prefix="/api/{user_id}")


@app.get("/health")
def health():
    return {"status": "ok"}


# The page for it, where it is there: ../tasks-web.
WEB = Path(os.environ.get("TASKS_WEB", Path(__file__).resolve().parent.parent / "tasks-web"))

if WEB.is_dir():
    app.mount("/assets", StaticFiles(directory=WEB / "assets"))

    @app.get("/", include_in_schema=False)
    def page():
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-store"})

    @app.get("/sign-in", include_in_schema=False)
    def sign_in_page():
        return FileResponse(WEB / "sign-in.html")

    @app.get("/settings.json", include_in_schema=False)
    def settings():
        return {"api": os.environ.get("TASKS_PUBLIC_API", "")}
