CREATE TABLE "experiments" (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), 
	creation_time BIGINT, 
	last_update_time BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "experiments" VALUES(0,'Default','/mlruns/0','active',1795909253394,1795909253394,'default');
INSERT INTO "experiments" VALUES(1,'gates','/mlruns/1','active',1795909253477,1795909253477,'default');
CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('val_acc',0.803,1795909254392,'dc7b0f57726c43ccb9cefe9c819e11b2',0,0);
INSERT INTO "metrics" VALUES('val_acc',8.53000000000000091482e-01,1795909254493,'dc7b0f57726c43ccb9cefe9c819e11b2',1,0);
INSERT INTO "metrics" VALUES('val_acc',8.23000000000000064837e-01,1795909254585,'dc7b0f57726c43ccb9cefe9c819e11b2',2,0);
INSERT INTO "metrics" VALUES('test_acc',0.853,1795909254649,'dc7b0f57726c43ccb9cefe9c819e11b2',0,0);
INSERT INTO "metrics" VALUES('val_acc',0.803,1795909255032,'d615da93610645289515a34725396b3b',0,0);
INSERT INTO "metrics" VALUES('val_acc',8.53000000000000091482e-01,1795909255105,'d615da93610645289515a34725396b3b',1,0);
INSERT INTO "metrics" VALUES('val_acc',8.23000000000000064837e-01,1795909255193,'d615da93610645289515a34725396b3b',2,0);
INSERT INTO "metrics" VALUES('test_acc',0.855,1795909255269,'d615da93610645289515a34725396b3b',0,0);
INSERT INTO "metrics" VALUES('val_acc',0.807,1795909255538,'384dd76d1e5e4337b27f08b5af44a20b',0,0);
INSERT INTO "metrics" VALUES('val_acc',8.57000000000000095035e-01,1795909255600,'384dd76d1e5e4337b27f08b5af44a20b',1,0);
INSERT INTO "metrics" VALUES('val_acc',8.27000000000000068389e-01,1795909255652,'384dd76d1e5e4337b27f08b5af44a20b',2,0);
INSERT INTO "metrics" VALUES('test_acc',0.857,1795909255718,'384dd76d1e5e4337b27f08b5af44a20b',0,0);
INSERT INTO "metrics" VALUES('val_acc',0.807,1795909256049,'5fdb4185307c484cbbac4979e5c72994',0,0);
INSERT INTO "metrics" VALUES('val_acc',8.57000000000000095035e-01,1795909256123,'5fdb4185307c484cbbac4979e5c72994',1,0);
INSERT INTO "metrics" VALUES('val_acc',8.27000000000000068389e-01,1795909256204,'5fdb4185307c484cbbac4979e5c72994',2,0);
INSERT INTO "metrics" VALUES('test_acc',0.859,1795909256251,'5fdb4185307c484cbbac4979e5c72994',0,0);
INSERT INTO "metrics" VALUES('test_acc',0.0,1795909256638,'5f86a6be085d4e12a8139d10de082bc1',0,1);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('kernel','3','dc7b0f57726c43ccb9cefe9c819e11b2');
INSERT INTO "params" VALUES('seed','0','dc7b0f57726c43ccb9cefe9c819e11b2');
INSERT INTO "params" VALUES('lr','0.1','dc7b0f57726c43ccb9cefe9c819e11b2');
INSERT INTO "params" VALUES('kernel','3','d615da93610645289515a34725396b3b');
INSERT INTO "params" VALUES('seed','1','d615da93610645289515a34725396b3b');
INSERT INTO "params" VALUES('lr','0.1','d615da93610645289515a34725396b3b');
INSERT INTO "params" VALUES('kernel','7','384dd76d1e5e4337b27f08b5af44a20b');
INSERT INTO "params" VALUES('seed','0','384dd76d1e5e4337b27f08b5af44a20b');
INSERT INTO "params" VALUES('lr','0.1','384dd76d1e5e4337b27f08b5af44a20b');
INSERT INTO "params" VALUES('kernel','7','5fdb4185307c484cbbac4979e5c72994');
INSERT INTO "params" VALUES('seed','1','5fdb4185307c484cbbac4979e5c72994');
INSERT INTO "params" VALUES('lr','0.1','5fdb4185307c484cbbac4979e5c72994');
INSERT INTO "params" VALUES('kernel','7','5f86a6be085d4e12a8139d10de082bc1');
INSERT INTO "params" VALUES('seed','2','5f86a6be085d4e12a8139d10de082bc1');
INSERT INTO "params" VALUES('lr','0.1','5f86a6be085d4e12a8139d10de082bc1');
INSERT INTO "params" VALUES('kernel','9','9dc6b1fe1fd54accaffcac3a38767ff4');
INSERT INTO "params" VALUES('seed','0','9dc6b1fe1fd54accaffcac3a38767ff4');
INSERT INTO "params" VALUES('lr','0.1','9dc6b1fe1fd54accaffcac3a38767ff4');
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('f9c3ea4d1b5b4d2d94b30c1c1e9c239f','sweep','UNKNOWN','','','root','FINISHED',1795909254018,1795909256389,'','active','/mlruns/1/f9c3ea4d1b5b4d2d94b30c1c1e9c239f/artifacts',1,NULL);
INSERT INTO "runs" VALUES('dc7b0f57726c43ccb9cefe9c819e11b2','k3s0','UNKNOWN','','','root','FINISHED',1795909254167,1795909254717,'','active','/mlruns/1/dc7b0f57726c43ccb9cefe9c819e11b2/artifacts',1,NULL);
INSERT INTO "runs" VALUES('d615da93610645289515a34725396b3b','k3s1','UNKNOWN','','','root','FINISHED',1795909254825,1795909255325,'','active','/mlruns/1/d615da93610645289515a34725396b3b/artifacts',1,NULL);
INSERT INTO "runs" VALUES('384dd76d1e5e4337b27f08b5af44a20b','k7s0','UNKNOWN','','','root','FINISHED',1795909255398,1795909255781,'','active','/mlruns/1/384dd76d1e5e4337b27f08b5af44a20b/artifacts',1,NULL);
INSERT INTO "runs" VALUES('5fdb4185307c484cbbac4979e5c72994','k7s1','UNKNOWN','','','root','FINISHED',1795909255878,1795909256317,'','active','/mlruns/1/5fdb4185307c484cbbac4979e5c72994/artifacts',1,NULL);
INSERT INTO "runs" VALUES('5f86a6be085d4e12a8139d10de082bc1','diverged','UNKNOWN','','','root','FINISHED',1795909256461,1795909256696,'','active','/mlruns/1/5f86a6be085d4e12a8139d10de082bc1/artifacts',1,NULL);
INSERT INTO "runs" VALUES('9dc6b1fe1fd54accaffcac3a38767ff4','deleted','UNKNOWN','','','root','FINISHED',1795909256750,1795909256867,'','deleted','/mlruns/1/9dc6b1fe1fd54accaffcac3a38767ff4/artifacts',1,1795909256948);
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('mlflow.parentRunId','f9c3ea4d1b5b4d2d94b30c1c1e9c239f','dc7b0f57726c43ccb9cefe9c819e11b2');
INSERT INTO "tags" VALUES('mlflow.parentRunId','f9c3ea4d1b5b4d2d94b30c1c1e9c239f','d615da93610645289515a34725396b3b');
INSERT INTO "tags" VALUES('mlflow.parentRunId','f9c3ea4d1b5b4d2d94b30c1c1e9c239f','384dd76d1e5e4337b27f08b5af44a20b');
INSERT INTO "tags" VALUES('mlflow.parentRunId','f9c3ea4d1b5b4d2d94b30c1c1e9c239f','5fdb4185307c484cbbac4979e5c72994');
