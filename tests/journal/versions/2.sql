PRAGMA journal_mode = WAL;
PRAGMA application_id = 1651862635;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE bulks (
        bulk_id INTEGER PRIMARY KEY,
        source_id INTEGER NOT NULL REFERENCES sources,
        id TEXT NOT NULL,
        note TEXT,
        tracked_at TEXT,
        first_seen_at TEXT,
        observed_at TEXT,
        moved_at TEXT,
        ended_at TEXT,
        missed_at TEXT,
        gone_at TEXT,
        duration REAL,
        state TEXT,
        native_state TEXT,
        action TEXT,
        status TEXT,
        pins TEXT,
        boot TEXT,
        tick REAL,
        missed_boot TEXT,
        missed_tick REAL,
        wavers INTEGER NOT NULL DEFAULT 0,
        doubted INTEGER NOT NULL DEFAULT 0,
        UNIQUE (source_id, id)
    );
INSERT INTO "bulks" VALUES(1,1,'done','für später','2026-01-01T00:00:00.000000Z','2026-01-01T00:00:00.000000Z','2026-01-01T00:01:00.000000Z','2026-01-01T00:01:00.000000Z','2026-01-01T00:01:00.000000Z',NULL,NULL,60.0,'succeeded','SUCCEEDED','/transfers','{"source":"payments","provider":"plain","id":"done","state":"succeeded","native_state":"SUCCEEDED","phase":null,"counts":{"total":9,"queued":null,"running":null,"succeeded":9,"failed":null,"cancelled":null},"created_at":"2026-01-01T00:00:00Z","started_at":null,"updated_at":null,"finished_at":"2026-01-01T00:01:00Z","observed_at":"2026-01-01T00:01:00Z","action":"/transfers","on_failure":null,"error":null,"provisional":false,"evidence":[],"gone_at":null,"overdue":null,"stuck":null}','','a-boot',60.0,NULL,NULL,0,0);
INSERT INTO "bulks" VALUES(2,1,'back',NULL,'2026-01-01T00:00:01.000000Z','2026-01-01T00:00:10.000000Z','2026-01-01T00:00:20.000000Z','2026-01-01T00:00:20.000000Z',NULL,NULL,NULL,NULL,'running','RUNNING',NULL,'{"source":"payments","provider":"plain","id":"back","state":"running","native_state":"RUNNING","phase":"importing","counts":null,"created_at":null,"started_at":null,"updated_at":null,"finished_at":null,"observed_at":"2026-01-01T00:00:20Z","action":null,"on_failure":null,"error":null,"provisional":false,"evidence":[],"gone_at":null,"overdue":null,"stuck":null}','','a-boot',20.0,NULL,NULL,0,0);
INSERT INTO "bulks" VALUES(3,1,'never',NULL,'2026-01-01T00:00:02.000000Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0);
INSERT INTO "bulks" VALUES(4,1,'gone',NULL,NULL,'2026-01-01T00:00:30.000000Z','2026-01-01T00:00:30.000000Z','2026-01-01T00:00:30.000000Z',NULL,NULL,'2026-01-01T00:01:30.000000Z',NULL,'running','RUNNING',NULL,'{"source":"payments","provider":"plain","id":"gone","state":"running","native_state":"RUNNING","phase":null,"counts":null,"created_at":null,"started_at":null,"updated_at":null,"finished_at":null,"observed_at":"2026-01-01T00:00:30Z","action":null,"on_failure":null,"error":null,"provisional":false,"evidence":[],"gone_at":null,"overdue":null,"stuck":null}','','a-boot',30.0,NULL,NULL,0,0);
INSERT INTO "bulks" VALUES(5,2,'done',NULL,'2026-01-01T00:00:40.000000Z','2026-01-01T00:00:40.000000Z','2026-01-01T00:00:40.000000Z','2026-01-01T00:00:40.000000Z','2026-01-01T00:00:40.000000Z',NULL,NULL,NULL,'partial','PARTIAL',NULL,'{"source":"edge","provider":"plain","id":"done","state":"partial","native_state":"PARTIAL","phase":null,"counts":{"total":9,"queued":null,"running":null,"succeeded":4,"failed":null,"cancelled":null},"created_at":null,"started_at":null,"updated_at":null,"finished_at":null,"observed_at":"2026-01-01T00:00:40Z","action":null,"on_failure":null,"error":null,"provisional":false,"evidence":["Four of nine."],"gone_at":null,"overdue":null,"stuck":null}','','a-boot',40.0,NULL,NULL,0,0);
INSERT INTO "bulks" VALUES(6,1,'open',NULL,NULL,'2026-01-01T00:00:50.000000Z','2026-01-01T00:00:50.000000Z','2026-01-01T00:00:50.000000Z',NULL,NULL,NULL,NULL,'running','RUNNING',NULL,'{"source":"payments","provider":"plain","id":"open","state":"running","native_state":"RUNNING","phase":null,"counts":{"total":9,"queued":null,"running":null,"succeeded":1,"failed":null,"cancelled":null},"created_at":null,"started_at":null,"updated_at":null,"finished_at":null,"observed_at":"2026-01-01T00:00:50Z","action":null,"on_failure":null,"error":null,"provisional":false,"evidence":[],"gone_at":null,"overdue":null,"stuck":null}','','a-boot',50.0,NULL,NULL,0,0);
CREATE TABLE drift (
        source_id INTEGER NOT NULL REFERENCES sources,
        kind TEXT NOT NULL,
        place TEXT NOT NULL,
        form TEXT NOT NULL,
        sample TEXT NOT NULL,
        word TEXT,
        count INTEGER NOT NULL,
        first_seen TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        PRIMARY KEY (source_id, kind, place, form)
    ) WITHOUT ROWID;
INSERT INTO "drift" VALUES(1,'field','plain bulk','retries','retries (number)',NULL,2,'2026-01-01T00:00:00.000000Z','2026-01-01T00:00:30.000000Z');
INSERT INTO "drift" VALUES(1,'word','plain bulk','ARCHIVING','ARCHIVING','ARCHIVING',3,'2026-01-01T00:00:00.000000Z','2026-01-01T00:01:00.000000Z');
INSERT INTO "drift" VALUES(2,'time','endedOn','aaaaa 9999','aaaaa 9999',NULL,1,'2026-01-01T00:01:30.000000Z','2026-01-01T00:01:30.000000Z');
CREATE TABLE labels (
        bulk_id INTEGER NOT NULL REFERENCES bulks ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (bulk_id, key)
    ) WITHOUT ROWID;
INSERT INTO "labels" VALUES(1,'release','42');
INSERT INTO "labels" VALUES(1,'team','ops');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('id','0c0ffee0');
CREATE TABLE prunes (generation INTEGER PRIMARY KEY, last_step INTEGER NOT NULL);
CREATE TABLE sources (
        source_id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        provider TEXT NOT NULL,
        realm TEXT NOT NULL,
        UNIQUE (source, realm)
    );
INSERT INTO "sources" VALUES(1,'payments','plain','plain https://plain.example 1');
INSERT INTO "sources" VALUES(2,'edge','plain','plain https://plain.example 2');
CREATE TABLE transitions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        bulk_id INTEGER NOT NULL REFERENCES bulks,
        kind TEXT NOT NULL,
        from_state TEXT,
        to_state TEXT,
        from_word TEXT,
        to_word TEXT,
        phase TEXT,
        counts TEXT,
        observed_at TEXT NOT NULL,
        observer TEXT NOT NULL,
        regressed INTEGER NOT NULL,
        passed_over TEXT NOT NULL
    );
INSERT INTO "transitions" VALUES(1,1,'first',NULL,'queued',NULL,'QUEUED',NULL,NULL,'2026-01-01T00:00:00.000000Z','host:1',0,'');
INSERT INTO "transitions" VALUES(2,1,'state','queued','succeeded','QUEUED','SUCCEEDED',NULL,'{"total":9,"queued":null,"running":null,"succeeded":9,"failed":null,"cancelled":null}','2026-01-01T00:01:00.000000Z','host:1',0,'running');
INSERT INTO "transitions" VALUES(3,2,'first',NULL,'failed',NULL,'FAILED',NULL,NULL,'2026-01-01T00:00:10.000000Z','host:1',0,'');
INSERT INTO "transitions" VALUES(4,2,'state','failed','running','FAILED','RUNNING','importing',NULL,'2026-01-01T00:00:20.000000Z','host:1',1,'');
INSERT INTO "transitions" VALUES(5,4,'first',NULL,'running',NULL,'RUNNING',NULL,NULL,'2026-01-01T00:00:30.000000Z','host:1',0,'');
INSERT INTO "transitions" VALUES(6,4,'gone','running',NULL,'RUNNING',NULL,NULL,NULL,'2026-01-01T00:01:30.000000Z','host:1',0,'');
INSERT INTO "transitions" VALUES(7,5,'first',NULL,'partial',NULL,'PARTIAL',NULL,'{"total":9,"queued":null,"running":null,"succeeded":4,"failed":null,"cancelled":null}','2026-01-01T00:00:40.000000Z','host:1',0,'');
INSERT INTO "transitions" VALUES(8,6,'first',NULL,'running',NULL,'RUNNING',NULL,'{"total":9,"queued":null,"running":null,"succeeded":1,"failed":null,"cancelled":null}','2026-01-01T00:00:50.000000Z','host:1',0,'');
CREATE TABLE waits (
        wait_id INTEGER PRIMARY KEY AUTOINCREMENT,
        refs TEXT NOT NULL,
        terms TEXT NOT NULL,
        begun_at TEXT NOT NULL,
        deadline_at TEXT,
        waiter TEXT NOT NULL,
        ended_at TEXT,
        verdicts TEXT
    );
INSERT INTO "waits" VALUES(1,'["payments:done"]','{"timeout":60.0,"until":"all","stop_when_blocked":false,"blind_after":600.0,"grace":20.0,"polling":"default","realms":{"payments":"plain https://plain.example 1"},"command":{"output":"json"}}','2026-01-01T00:00:02.000000Z','2026-01-01T00:01:02.000000Z','host:1','2026-01-01T00:00:02.000000Z','{"payments:done":"succeeded"}');
INSERT INTO "waits" VALUES(2,'["payments:open"]','{"timeout":null,"until":"any","stop_when_blocked":false,"blind_after":600.0,"grace":20.0,"polling":"default","realms":{},"command":{}}','2026-01-01T00:00:02.000000Z',NULL,'host:1',NULL,NULL);
CREATE INDEX bulks_tracked ON bulks (source_id, bulk_id) WHERE tracked_at IS NOT NULL;
CREATE INDEX bulks_took ON bulks (source_id, action, ended_at) WHERE duration IS NOT NULL;
CREATE INDEX transitions_of_bulk ON transitions (bulk_id, seq);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('transitions',8);
INSERT INTO "sqlite_sequence" VALUES('waits',2);
COMMIT;
