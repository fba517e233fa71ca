import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.parser.DataFormatException;
import ca.uhn.fhir.parser.IParser;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.google.gson.JsonParseException;
import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CodeSystem;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.OperationOutcome.IssueSeverity;
import org.hl7.fhir.r4.model.OperationOutcome.IssueType;
import org.hl7.fhir.r4.model.StringType;
import org.hl7.fhir.r4.model.StructureDefinition;
import org.hl7.fhir.r4.model.ValueSet;
import org.hl7.fhir.r5.elementmodel.Element;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.model.CanonicalResource;
import org.hl7.fhir.r5.model.CanonicalType;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.validation.instance.InstanceValidator;
import org.hl7.fhir.validation.instance.advisor.BasePolicyAdvisorForFullValidation;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * Validates R4 resources with HL7's own validator, as HAPI publishes it, without any network.
 *
 * <pre>java -cp CLASSPATH Validate.java [--package FILE.tgz]… [--terminology BUNDLE.json.gz]… [FILE]…</pre>
 *
 * Reads NDJSON (standard input without a FILE), one resource a line; a FILE.json is one resource. Writes one OperationOutcome a line, in the same
 * order; a resource without a remark has one without issues. Each issue has the validator's own message id as an extension.
 */
public final class Validate {
  private static final String MESSAGE_ID = "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id";

  private static final FhirContext CONTEXT = FhirContext.forR4();

  public static void main(String[] args) throws Exception {
    DefaultProfileValidationSupport r4 = new DefaultProfileValidationSupport(CONTEXT);
    List<IBaseResource> definitions = new ArrayList<>();
    List<Path> inputs = new ArrayList<>();
    for (int i = 0; i < args.length; i++) {
      switch (args[i]) {
        case "--package" -> readPackage(Path.of(args[++i]), definitions);
        case "--terminology" -> readBundle(Path.of(args[++i]), definitions);
        default -> inputs.add(Path.of(args[i]));
      }
    }
    FhirValidator validator = validator(given(definitions, r4), r4);
    int threads = Runtime.getRuntime().availableProcessors();
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try (PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8)) {
      Queue<Future<String>> waiting = new ArrayDeque<>();
      if (inputs.isEmpty()) {
        validate(System.in, validator, pool, waiting, threads, out);
      }
      for (Path input : inputs) {
        if (input.toString().endsWith(".json")) {
          String resource = Files.readString(input);
          waiting.add(pool.submit(() -> outcome(validator, resource)));
          continue;
        }
        try (InputStream in = Files.newInputStream(input)) {
          validate(in, validator, pool, waiting, threads, out);
        }
      }
      while (!waiting.isEmpty()) {
        out.println(waiting.remove().get());
      }
      if (out.checkError()) {
        throw new IOException("standard output cannot be written");
      }
    } finally {
      pool.shutdownNow();
    }
  }

  /** Keeps few outcomes waiting, in input order, so that memory does not grow with the input. */
  private static void validate(InputStream in, FhirValidator validator, ExecutorService pool, Queue<Future<String>> waiting,
      int threads, PrintStream out) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      if (line.isBlank()) {
        continue;
      }
      String resource = line;
      waiting.add(pool.submit(() -> outcome(validator, resource)));
      if (waiting.size() > 16 * threads) {
        out.println(waiting.remove().get());
      }
    }
  }

  private static String outcome(FhirValidator validator, String resource) {
    OperationOutcome outcome = new OperationOutcome();
    List<SingleValidationMessage> messages = List.of();
    try {
      messages = validator.validateWithResult(resource).getMessages();
    } catch (DataFormatException | JsonParseException e) { // what is no JSON never reaches HL7's rules
      outcome.addIssue().setSeverity(IssueSeverity.FATAL).setCode(IssueType.STRUCTURE).setDiagnostics(e.getMessage());
    }
    for (SingleValidationMessage m : messages) {
      OperationOutcome.OperationOutcomeIssueComponent issue = outcome.addIssue();
      issue.setSeverity(IssueSeverity.fromCode(m.getSeverity().getCode()));
      issue.setCode(IssueType.PROCESSING);
      issue.setDiagnostics(m.getMessage());
      if (m.getLocationString() != null) {
        issue.addExpression(m.getLocationString());
      }
      if (m.getMessageId() != null) {
        issue.addExtension(MESSAGE_ID, new StringType(m.getMessageId()));
      }
    }
    IParser parser = CONTEXT.newJsonParser(); // a parser serves one thread
    return parser.encodeResourceToString(outcome);
  }

  private static FhirValidator validator(IValidationSupport given, IValidationSupport r4) {
    FhirInstanceValidator instance = new FhirInstanceValidator(new ValidationSupportChain(
        given, // first: a package's terminology is newer than R4's under the same canonical
        r4,
        new CommonCodeSystemsTerminologyService(CONTEXT),
        new InMemoryTerminologyServerValidationSupport(CONTEXT),
        new SnapshotGeneratingValidationSupport(CONTEXT)));
    instance.setAnyExtensionsAllowed(true);
    instance.setErrorForUnknownProfiles(false); // what is not at hand is not checked
    // HL7's own policy: HAPI's lets every target of a reference pass, and knows no vital sign by its code.
    instance.setValidatorPolicyAdvisor(new BasePolicyAdvisorForFullValidation(ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS, Set.of()));
    instance.setValidatorResourceFetcher(new Referred());
    instance.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
    return CONTEXT.newValidator().registerValidatorModule(instance);
  }

  /**
   * Resources are looked at one by one. What one refers to is there, as far as the reference says what it is: so its type
   * is checked, and nothing else. Any URL may be right.
   */
  private static final class Referred implements IValidatorResourceFetcher {
    private static final Pattern RELATIVE = Pattern.compile("([A-Za-z]+)/([-A-Za-z0-9.]+)");

    @Override
    public Element fetch(IResourceValidator v, Object context, String url) throws IOException {
      Matcher relative = RELATIVE.matcher(url);
      if (!relative.matches() || !CONTEXT.getResourceTypes().contains(relative.group(1))) {
        return null;
      }
      String bare = "{\"resourceType\":\"" + relative.group(1) + "\",\"id\":\"" + relative.group(2) + "\"}";
      return Manager.parseSingle(((InstanceValidator) v).getContext(), new ByteArrayInputStream(bare.getBytes(StandardCharsets.UTF_8)), Manager.FhirFormat.JSON);
    }

    @Override
    public boolean resolveURL(IResourceValidator v, Object context, String path, String url, String type, boolean canonical,
        List<CanonicalType> targets) {
      return true;
    }

    @Override
    public byte[] fetchRaw(IResourceValidator v, String url) {
      return null;
    }

    @Override
    public IValidatorResourceFetcher setLocale(Locale locale) {
      return this;
    }

    @Override
    public CanonicalResource fetchCanonicalResource(IResourceValidator v, Object context, String url) {
      return null;
    }

    @Override
    public boolean fetchesCanonicalResource(IResourceValidator v, String url) {
      return false;
    }

    @Override
    public Set<ResourceVersionInformation> fetchCanonicalResourceVersions(IResourceValidator v, Object context, String url) {
      return Set.of();
    }
  }

  /**
   * The definitions without the value sets that include one that is not at hand: HAPI takes it for empty, and would call
   * every code wrong, where nothing can be known.
   */
  private static IValidationSupport given(List<IBaseResource> definitions, IValidationSupport r4) {
    Set<String> sets = new HashSet<>();
    definitions.stream().filter(ValueSet.class::isInstance).forEach(d -> sets.add(((ValueSet) d).getUrl()));
    while (definitions.removeIf(d -> d instanceof ValueSet set && sets.contains(set.getUrl()) && !whole(set, sets, r4) && sets.remove(set.getUrl()))) {
      // what included a set that went goes in the next round
    }
    PrePopulatedValidationSupport given = new PrePopulatedValidationSupport(CONTEXT);
    definitions.forEach(given::addResource);
    return given;
  }

  private static boolean whole(ValueSet set, Set<String> sets, IValidationSupport r4) {
    return set.getCompose().getInclude().stream().flatMap(include -> include.getValueSet().stream())
        .map(canonical -> canonical.getValue().split("\\|")[0])
        .allMatch(url -> sets.contains(url) || r4.fetchValueSet(url) != null);
  }

  private static void readPackage(Path file, List<IBaseResource> into) throws IOException {
    try (TarArchiveInputStream tar = new TarArchiveInputStream(new GZIPInputStream(new BufferedInputStream(Files.newInputStream(file))))) {
      for (var entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        // Definitions lie in package/ itself; package/example/ and others hold what nothing refers to.
        if (entry.getName().matches("package/(StructureDefinition|ValueSet|CodeSystem)-[^/]*\\.json")) {
          add(CONTEXT.newJsonParser().parseResource(new String(tar.readAllBytes(), StandardCharsets.UTF_8)), into);
        }
      }
    }
  }

  private static void readBundle(Path file, List<IBaseResource> into) throws IOException {
    try (InputStream in = new GZIPInputStream(Files.newInputStream(file))) {
      for (Bundle.BundleEntryComponent entry : CONTEXT.newJsonParser().parseResource(Bundle.class, in).getEntry()) {
        add(entry.getResource(), into);
      }
    }
  }

  private static void add(IBaseResource resource, List<IBaseResource> into) {
    if (resource instanceof StructureDefinition || resource instanceof ValueSet || resource instanceof CodeSystem) {
      into.add(resource);
    }
  }
}
