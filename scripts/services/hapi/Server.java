import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings.ClientIdStrategyEnum;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.MemoryBinaryStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import com.zaxxer.hikari.HikariDataSource;
import jakarta.persistence.EntityManagerFactory;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;
import javax.sql.DataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.ServerConnector;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/**
 * HAPI's JPA server, R4, over H2 in memory, on a free port of loopback, under two base URLs with a store each: at /fhir
 * clients choose ids, at /given/fhir the server does. Prints NAME=URL for both as soon as both have answered for their
 * CapabilityStatement, and serves until it is killed.
 *
 * What HAPI does by default stays so: versions and their history are kept, references must resolve when something is
 * written or deleted, the answers to searches are used again for a minute. Nothing is validated. Pages are of the size
 * that HAPI's starter project has.
 */
class Server {
  public static void main(String[] args) throws Exception {
    var server = new org.eclipse.jetty.server.Server(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    var handler = new ServletContextHandler();
    server.setHandler(handler);
    handler.addServlet(new ServletHolder(store("chosen", ClientIdStrategyEnum.ALPHANUMERIC)), "/fhir/*");
    handler.addServlet(new ServletHolder(store("given", ClientIdStrategyEnum.NOT_ALLOWED)), "/given/fhir/*");
    server.start();
    var port = ((ServerConnector) server.getConnectors()[0]).getLocalPort();
    announce("CHARTLIFT_HAPI", "http://127.0.0.1:" + port + "/fhir");
    announce("CHARTLIFT_HAPI_GIVEN", "http://127.0.0.1:" + port + "/given/fhir");
    System.out.close(); // what has read the names need not wait any longer
    server.join();
  }

  /** Prints the base URL of a server that works. */
  static void announce(String name, String url) throws Exception {
    var request = HttpRequest.newBuilder(URI.create(url + "/metadata")).build();
    var response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
    if (response.statusCode() != 200) {
      throw new IllegalStateException(url + "/metadata: " + response.statusCode());
    }
    System.out.println(name + "=" + url);
  }

  /** A FHIR server with a database of its own. */
  static RestfulServer store(String name, ClientIdStrategyEnum ids) {
    var settings = new JpaStorageSettings();
    settings.setResourceClientIdStrategy(ids);
    var context = new AnnotationConfigApplicationContext();
    context.register(JpaR4Config.class, HapiJpaConfig.class, ThreadPoolFactoryConfig.class);
    // Jobs and subscriptions are not used here, and nothing starts without them.
    context.register(JpaBatch2Config.class, Batch2JobsConfig.class, SubscriptionChannelConfig.class);
    context.registerBean(JpaStorageSettings.class, () -> settings);
    context.registerBean(PartitionSettings.class, PartitionSettings::new);
    context.registerBean(SubscriptionSettings.class, SubscriptionSettings::new);
    context.registerBean(IBinaryStorageSvc.class, MemoryBinaryStorageSvcImpl::new);
    context.registerBean(DatabaseBackedPagingProvider.class, () -> {
      var pages = new DatabaseBackedPagingProvider();
      pages.setDefaultPageSize(20);
      pages.setMaximumPageSize(200);
      return pages;
    });
    context.registerBean(HikariDataSource.class, () -> {
      var database = new HikariDataSource();
      database.setJdbcUrl("jdbc:h2:mem:" + name);
      database.setMaximumPoolSize(30);
      return database;
    });
    context.registerBean("entityManagerFactory", LocalContainerEntityManagerFactoryBean.class, () -> {
      var factory = HapiEntityManagerFactoryUtil.newEntityManagerFactory(
          context.getBeanFactory(), context.getBean(FhirContext.class), settings);
      factory.setPersistenceUnitName(name);
      factory.setDataSource(context.getBean(DataSource.class));
      factory.setJpaPropertyMap(Map.of(
          "hibernate.dialect", HapiFhirH2Dialect.class.getName(),
          "hibernate.hbm2ddl.auto", "create",
          "hibernate.jdbc.batch_size", "50",
          "hibernate.search.enabled", "false"));
      return factory;
    });
    context.registerBean("transactionManager", JpaTransactionManager.class,
        () -> new JpaTransactionManager(context.getBean(EntityManagerFactory.class)));
    context.refresh();

    var server = new RestfulServer(context.getBean(FhirContext.class));
    server.registerProviders(context.getBean(ResourceProviderFactory.class).createProviders());
    server.registerProvider(context.getBean("mySystemProviderR4"));
    server.setServerConformanceProvider(new JpaCapabilityStatementProvider(server, context.getBean(IFhirSystemDao.class), settings,
        context.getBean(ISearchParamRegistry.class), context.getBean(IValidationSupport.class)));
    server.setPagingProvider(context.getBean(DatabaseBackedPagingProvider.class));
    server.setDefaultResponseEncoding(EncodingEnum.JSON);
    return server;
  }
}
