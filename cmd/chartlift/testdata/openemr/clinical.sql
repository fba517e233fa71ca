-- Made-up rows of clinical tables for the example patients of OpenEMR, and the providers that they name.
INSERT INTO `users` (`id`, `username`, `fname`, `lname`, `active`, `npi`) VALUES
 (1, 'one', 'Ann', 'Admin', 1, NULL),
 (4, 'four', 'Ben', 'Four', 1, '1234567893'),
 (5, 'five', 'Cid', 'Five', 0, NULL);
INSERT INTO `form_encounter` (`id`, `date`, `reason`, `facility_id`, `pid`, `encounter`, `pc_catid`, `provider_id`, `sensitivity`) VALUES
 (1, '2005-03-01 09:00:00', 'Cough', 3, 5, 101, 9, 4, 'normal'),
 (2, '2005-03-02 00:00:00', 'Check', 0, 1, 102, 5, 0, 'high'),
 (3, '0000-00-00 00:00:00', 'Mistake', 3, 1, 103, 5, 5, 'normal');
INSERT INTO `forms` (`id`, `encounter`, `form_id`, `pid`, `deleted`, `formdir`) VALUES
 (1, 101, 1, 5, 0, 'newpatient'), (2, 102, 2, 1, 0, 'newpatient'), (3, 103, 3, 1, 1, 'newpatient'),
 (4, 101, 1, 5, 0, 'vitals'), (5, 102, 2, 1, 1, 'vitals');
INSERT INTO `lists` (`id`, `date`, `type`, `title`, `begdate`, `enddate`, `diagnosis`, `activity`, `pid`, `outcome`, `reaction`, `severity_al`) VALUES
 (1, '2005-03-01 09:10:00', 'medical_problem', 'Diabetes', '2001-02-03', NULL, 'ICD10:E11.9;SNOMED-CT:44054006', 1, 5, 0, '', NULL),
 (2, '2005-03-01 09:11:00', 'medical_problem', 'Cold', '0000-00-00', '2004-01-02', '', 1, 1, 1, '', NULL),
 (3, '2005-03-01 09:12:00', 'allergy', 'penicillin', '0000-00-00', '0000-00-00', 'RXCUI:7980', 1, 5, 0, 'hives', 'mild'),
 (4, '0000-00-00 00:00:00', 'medication', 'Aspirin', '2003-01-01', '2003-02-01', 'RXCUI:1191', 1, 1, 0, '', NULL),
 (5, NULL, 'surgery', 'Appendectomy', '1999-05-06', NULL, 'CPT4:44950', 1, 1, 0, '', NULL);
INSERT INTO `prescriptions` (`id`, `patient_id`, `date_added`, `provider_id`, `encounter`, `start_date`, `drug`, `rxnorm_drugcode`, `form`, `dosage`, `quantity`, `route`, `interval`, `refills`, `active`, `end_date`, `txDate`) VALUES
 (1, 5, '2005-03-01', 4, 101, '2005-03-01', 'Metformin', '6809', 2, '1', '60', 1, 1, 2, 1, NULL, '0000-00-00'),
 (2, 1, '2005-03-02', 0, 0, '0000-00-00', 'Ibuprofen', NULL, 0, '', '', 0, 0, 0, 0, '0000-00-00', '0000-00-00');
INSERT INTO `immunizations` (`id`, `patient_id`, `administered_date`, `cvx_code`, `manufacturer`, `administered_by_id`, `vis_date`, `expiration_date`, `create_date`) VALUES
 (1, 5, '2005-03-01 09:20:00', '08', 'MSD', 4, '0000-00-00', '0000-00-00', '2005-03-01 09:21:00'),
 (2, 1, '0000-00-00 00:00:00', '140', '', 0, NULL, NULL, NULL);
INSERT INTO `form_vitals` (`id`, `date`, `pid`, `bps`, `bpd`, `weight`, `height`, `temperature`, `pulse`) VALUES
 (1, '2005-03-01 09:15:00', 5, '120', '80', 150.50, 65.00, 98.60, 72.00),
 (2, '2005-03-02 09:15:00', 1, '130', '90', 180.00, 70.00, 0.00, 0.00);
INSERT INTO `procedure_order` (`procedure_order_id`, `provider_id`, `patient_id`, `encounter_id`, `date_collected`, `date_ordered`, `order_status`, `activity`, `lab_id`) VALUES
 (1, 4, 5, 101, '2005-03-01 09:30:00', '2005-03-01', 'complete', 1, 6),
 (2, 0, 1, 0, '0000-00-00 00:00:00', '2005-03-02', 'pending', 0, 6);
INSERT INTO `procedure_order_code` (`procedure_order_id`, `procedure_order_seq`, `procedure_code`, `procedure_name`, `diagnoses`) VALUES
 (1, 1, '2345-7', 'Glucose', 'ICD10:E11.9'), (2, 1, 'GLU', 'Glucose', '');
INSERT INTO `procedure_report` (`procedure_report_id`, `procedure_order_id`, `procedure_order_seq`, `date_collected`, `date_report`, `report_status`) VALUES
 (1, 1, 1, '2005-03-01 09:30:00', '0000-00-00 00:00:00', 'final'), (2, 2, 1, NULL, NULL, '');
INSERT INTO `procedure_result` (`procedure_result_id`, `procedure_report_id`, `result_data_type`, `result_code`, `result_text`, `date`, `units`, `result`, `abnormal`, `result_status`) VALUES
 (1, 1, 'N', '2345-7', 'Glucose', '0000-00-00 00:00:00', 'mg/dL', '140', 'high', 'final'), (2, 2, 'N', 'GLU', 'Glucose', NULL, '', '', '', '');
