package main

// What the hospital's people are called and what they have. All of it is put together at random; the codes are the
// hospital's own, and fixtures/riverside/mappings/maps says what they mean.
var (
	familyNames = []string{"Abelard", "Birchwood", "Calloway", "Dunmore", "Ellsworth", "Fairweather", "Grantham", "Hollis", "Ingersoll",
		"Jessup", "Kingsley", "Lockhart", "Merriweather", "Northcott", "Okonjo", "Pemberton", "Quill", "Ravenel", "Sandoval", "Thornbury",
		"Underhill", "Vasquez", "Whitlock", "Xiong", "Yardley", "Zeller", "O'Dowd", "Müller-Hahn", "Nuñez", "Van der Meer"}
	womensNames = []string{"Agnes", "Beatriz", "Clara", "Dolores", "Edith", "Flora", "Greta", "Hazel", "Imogen", "Josephine", "Leonor", "Zoë"}
	mensNames   = []string{"Albert", "Benedict", "Cyrus", "Dmitri", "Edwin", "Felix", "Gaspar", "Hugo", "Ivan", "Julian", "Leopold", "René"}
	streets     = []string{"Ferry Road", "Mill Race Lane", "Levee Street", "Willow Bend", "Cannery Row", "Towpath Avenue", "Sandbar Court"}
	towns       = [][3]string{{"Riverside Falls", "IL", "60900"}, {"Millbrook Landing", "IL", "60901"}, {"Otter Creek", "WI", "53900"}, {"Port Sable", "IN", "46300"}}
	reasons     = []string{"Check-up", "Cough for two weeks", "Chest pain, now gone", "Follow-up after discharge", "Fall at home", "Medication review",
		"Headache", "Shortness of breath", "Called in: \"feels faint\"", "Wound check"}
)

// Codes of the hospital with the words that stand beside them in its tables.
var (
	problemCodes = [][2]string{{"HTN", "High blood pressure"}, {"DM2", "Diabetes type 2"}, {"ASTH", "Asthma"}, {"AF", "Atrial fibrillation"},
		{"COPD", "COPD"}, {"HYPOT", "Underactive thyroid"}, {"DEPR", "Depression"}, {"LBP", "Low back pain"}, {"GERD", "Reflux"}, {"HLD", "High cholesterol"}}
	// code, substance, category
	allergyCodes = [][3]string{{"A01", "Penicillin-type: amoxicillin", "M"}, {"A02", "Aspirin", "M"}, {"A03", "Ibuprofen", "M"}, {"A04", "Codeine", "M"},
		{"A05", "Sulfamethoxazole", "M"}, {"F01", "Peanut", "F"}, {"F02", "Cow's milk", "F"}, {"F03", "Hen's egg", "F"}, {"E01", "Latex", "E"}}
	reactionWords = []string{"hives", "rash", "swelling of the lips", "vomiting", "wheezing", ""}
	// code, drug, dose, unit
	drugCodes = [][4]string{{"LIS10", "Lisinopril 10 mg tablet", "1", "tab"}, {"MET500", "Metformin 500 mg tablet", "1", "tab"},
		{"ATO20", "Atorvastatin 20 mg tablet", "1", "tab"}, {"IBU200", "Ibuprofen 200 mg tablet", "2", "tab"}, {"AMO500", "Amoxicillin 500 mg capsule", "1", "cap"},
		{"ACE325", "Acetaminophen 325 mg tablet", "2", "tab"}, {"OME20", "Omeprazole 20 mg capsule", "1", "cap"}, {"ALB90", "Albuterol inhaler", "2", "puff"}}
	// test, name, unit, lowest and highest value that is made, decimals, reference low and high
	labTests = []labTest{{"GLU", "Glucose", "mg/dl", 62, 240, 0, "70", "99"}, {"HGB", "Hemoglobin", "g/dl", 90, 170, 1, "12.0", "17.5"},
		{"CREA", "Creatinine", "mg/dl", 50, 240, 2, "0.60", "1.30"}, {"K", "Potassium", "mmol/l", 31, 56, 1, "3.5", "5.1"},
		{"NA", "Sodium", "mmol/l", 128, 148, 0, "135", "145"}, {"A1C", "Hemoglobin A1c", "%", 48, 110, 1, "4.0", "5.6"},
		{"CHOL", "Cholesterol", "mg/dl", 120, 290, 0, "", "200"}, {"TSH", "TSH", "mIU/l", 10, 900, 2, "0.40", "4.00"}, {"WBC", "White cells", "10^9/l", 31, 160, 1, "4.0", "11.0"}}
	vaccineCodes = [][2]string{{"FLU", "Influenza shot"}, {"TDAP", "Tetanus, diphtheria, whooping cough"}, {"HEPB", "Hepatitis B"}, {"PNEU", "Pneumonia shot"}, {"COV", "COVID-19 mRNA"}}
	departments  = [][4]string{{"N", "Riverside North Clinic", "312-555-0110", "1"}, {"S", "Riverside South Clinic", "312-555-0120", "1"},
		{"ER", "Emergency Room", "312-555-0130", "0"}, {"W4", "Ward 4", "312-555-0140", "4"}, {"LAB", "Laboratory", "", "-1"}}
	specialties = []string{"Family medicine", "Internal medicine", "Emergency medicine", "Cardiology"}
)

type labTest struct {
	code, name, unit string
	lowest, highest  int // in the last decimal
	decimals         int
	low, high        string
}
