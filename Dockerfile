FROM python:3.13-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY graphs graphs
COPY nodes nodes
COPY prompts prompts
COPY asterism asterism
RUN pip install --no-cache-dir -c constraints.txt '.[ui,workers]' && useradd --create-home app
WORKDIR /home/app
USER app
# Your team is a module here: COPY trip.py . and name it with --graph trip:trip
ENTRYPOINT ["asterism"]
CMD ["--help"]
