//! Messages, news and dead letters of the job core on RabbitMQ.
