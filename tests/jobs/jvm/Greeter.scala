package greeter

import java.util.{Map => JavaMap}
import java.util.function.BiFunction

import org.apache.spark.sql.SparkSession

import words.Words

/** Uses a class of another jar, on the driver and on executors. */
class Greet extends BiFunction[SparkSession, JavaMap[String, Object], Object] {
  def apply(session: SparkSession, config: JavaMap[String, Object]): Object = {
    val driver = Words.greet("you")
    val executors = session.sparkContext.parallelize(1 to 4, 2).map(_ => Words.greet("you")).distinct().collect()
    Map("driver" -> driver, "executors" -> executors)
  }
}
